@echo off
rem A double click installs napari-sdmae into your home folder. Not tried by its makers.
powershell -NoProfile -ExecutionPolicy Bypass -File "%~dp0install.ps1" %*
pause
