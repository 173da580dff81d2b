"""The registry of a region: catalogue, licences, lifecycle, signing, status lists, import."""
