"""Videos: folders, frames, splits, packs, transforms and derived modality clips."""
