"""The chapters of the report of an analysis, in the order of a paper."""

from __future__ import annotations

# Title, what the numbers mean, when they mislead and what to report, the table the findings come from, prefixes of its figures.
CHAPTERS = (
    ("Data and models",
     "What was compared. The pictures are what the first network sees, but for its normalisation: what is black or white "
     "there is all alike to it. Below them is what data sets and splits share: patients, studies, images with equal pixels, "
     "and images of the same looks (perceptual hash, then a correlation of small grey pictures of 0.98 at least; turned and "
     "mirrored copies are not found). Shared patients make a test look better than it is, and two domains more alike than "
     "they are. Patients are told by the names of groups: data sets that number theirs from 1 seem to share them.",
     "layers", ("inputs_",)),
    ("Similarity", "Linear CKA compares two layers by how they arrange the same images: 1 is the same arrangement up to "
     "rotation and scale, 0 is none in common. It is debiased, so small negative values occur and are kept. Intervals are "
     "jackknife intervals, symmetric, and can reach beyond 1. CKA follows the directions of largest variance: two layers "
     "can have a high CKA and still differ in what a classifier reads from them. Report the value with its interval and n, whether "
     "images or groups are the unit, that it is linear and debiased, and the value with the untrained copy.", "similarity",
     ("cka_by_layer", "trajectory", "cka_heatmap")),
    ("Probe", "A linear classifier is trained on each layer's features of the training images and tested once on images it "
     "has not seen; its regularisation is chosen within the training images. It shows what can be read from a layer "
     "with one linear step, not what the network uses. Intervals say how much the test images could vary, not how much "
     "another training would. Report the layer, the test accuracy with its interval, training and test images and groups, and what "
     "raw pixels and guessing reach.", "probe", ("probe_by_depth", "few_shot")),
    ("Domain gap", "MMD² is zero when two sets of features have the same distribution; p comes from permuting the images "
     "(whole groups where there are groups) and is the test; the interval is a jackknife and wider than need be for a "
     "small gap, so it can hold zero where p is small. The kernel's width is chosen for each layer, so compare its size between "
     "layers with care. The Fréchet distance shown is corrected for most of the bias of small samples; the "
     "plug-in value stands in the table domain_gap. Report MMD² with its p, the kernel (RBF, width by the median heuristic), both "
     "n and the unit; a Fréchet distance only with n, and with values of the same n.", "domain_gap",
     ("domain_gap_by_depth", "frechet_by_depth")),
    ("Geometry", "What a layer does with the images by itself. The participation ratio counts the directions that its "
     "variance spreads over (debiased; pairs within a group left out). Anisotropy is the mean cosine between two images: near 1, "
     "all point one way. Uniformity, at most 0, is lower the more evenly images spread over the sphere of directions. Report the "
     "layer, its width and n: what is not debiased changes with n.",
     "geometry", ("participation_ratio", "anisotropy", "uniformity", "effective_rank", "spectrum_decay", "intrinsic_dimension",
                  "silhouette", "fisher_ratio", "log_me", "h_score", "dead_units", "constant_units")),
    ("Weights", "Feature reuse is CKA (RBF kernel) of a layer's filters in two networks: output channels and places in a filter "
     "are the samples, input channels the features; no images are needed. Feature uniqueness is 1 less the mean CKA of eight parts "
     "of a layer's filters. As published, both depend on the shape of the layer: weights that have nothing in common reach a high "
     "CKA where filters are few for their channels. Compare with the untrained copy, or take the debiased values, which are then "
     "about 0 (uniqueness: 1). Intervals say how the values vary with the filters, not from training to training. Report the "
     "debiased value, or the published one with that of untrained weights.", "weights",
     ("feature_reuse", "feature_uniqueness")),
    ("Arms", "An arm is one way of training, repeated with several seeds. What differs between two arms is told from what differs "
     "between seeds of one: intervals speak of further seeds and of further images. Seeds of one arm set the ceiling of CKA; "
     "whether two arms lie below it is tested by permuting the models over the arms; with three seeds an arm, p cannot be "
     "below 0.1. Report the number of seeds of each arm. "
     "Every layer stands in the table arms.", "arms", ()),
    ("Embedding",
     "UMAP and PCA draw the last layer in two dimensions. Trustworthiness is the share, from 0 to 1, in which neighbours in "
     "the picture are neighbours in the features. Distances between clusters and their sizes mean nothing in UMAP. The "
     "aligned pictures hold the same images of all data sets: the layout of each model starts from that of the first and is "
     "turned onto it as a whole. UMAP forgets much of its start, so choose an image to follow it, and take its neighbours for "
     "what a model changed, not a small move. Report the method, n, seed and trustworthiness, and rest nothing on the picture "
     "alone.",
     "embedding", ("aligned_", "umap_", "pca_")),
    ("Images that drive the difference",
     "CKA is made of pairs of images, and leaving one image out changes it by an exactly known amount. The images named here"
     " lower it most: they are arranged differently by the two models, and are the first to look at. A single image's "
     "influence is small, about 1 / n, unless it lies far out.",
     "influence_summary", ("cka_convergence",)),
    ("Limits", "What these numbers cannot carry, and what would help. All of it is in the table verdicts.", "verdicts", ()),
)  # fmt: skip
