// QuPath 0.5 and later: run for the whole project (Automate > Project scripts > Run > Run for project).
// Exports each image as images/NAME.ome.tif with its annotations as annotations/NAME.geojson, or imports our results.
def importing = false  // true: read what `sdmae predict` wrote into the folder "results"
def folder = buildFilePath(PROJECT_BASE_DIR, 'sdmae'), server = getCurrentServer()
def name = GeneralTools.stripExtension(getProjectEntry().getImageName())
if (importing)
    return importObjectsFromFile(buildFilePath(folder, 'results', name + '-labels.geojson'))
['images', 'annotations'].each { mkdirs(buildFilePath(folder, it)) }
writeImage(server, buildFilePath(folder, 'images', name + '.ome.tif'))
exportObjectsToGeoJson(getAnnotationObjects(), buildFilePath(folder, 'annotations', name + '.geojson'), 'FEATURE_COLLECTION')
