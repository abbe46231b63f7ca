"""From episodes to batches: sample i is a function of the seed and i.

windows          which windows an episode has, and one of them as a `Clip`
sample_order     which window sample i is
mixture          several data sets with their shares
augmentation     crops and colours of a sample; colour_jitter changes the colours
collate          clips in the model's units into a batch
batch_loader     batches read ahead by processes and dealt out to ranks
stream           all of it together
clip_dataset     windows one after the other, for evaluation
"""
