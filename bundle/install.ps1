# Installs napari-sdmae from this folder, without the internet:   install.bat [FOLDER]
# FOLDER (default: napari-sdmae in your home folder) gets a virtual environment. Not tried by its makers.
param([string]$Target = (Join-Path $HOME "napari-sdmae"))
$ErrorActionPreference = "Stop"
$here = $PSScriptRoot
$version = (Get-Content (Join-Path $here "python-version.txt")).Trim()

if (Test-Path $Target) { throw "$Target exists already. Name another folder: install.bat FOLDER" }
& py "-$version" -c "pass"
if ($LASTEXITCODE -ne 0) { throw "This bundle holds packages for Python $version, which is not installed." }

Write-Host "Checking the files"
foreach ($line in Get-Content (Join-Path $here "checksums.txt")) {
    $expected, $name = $line -split "  ", 2
    $found = (Get-FileHash -Algorithm SHA256 (Join-Path $here $name)).Hash.ToLower()
    if ($found -ne $expected) { throw "$name is damaged: copy the bundle again" }
}

Write-Host "Installing into $Target (minutes)"
& py "-$version" -m venv $Target
if ($LASTEXITCODE -ne 0) { throw "No virtual environment could be made in $Target" }
# Neither the machine's settings of pip nor its variables may lead to the internet.
$env:PIP_CONFIG_FILE = "nul"
$python = Join-Path $Target "Scripts\python.exe"
& $python -m pip --isolated install --quiet --no-index --find-links (Join-Path $here "wheels") "napari-sdmae[all]"
if ($LASTEXITCODE -ne 0) { throw "The packages could not be installed" }
Write-Host "Ready. Start it with:   $(Join-Path $Target 'Scripts\napari.exe')"
