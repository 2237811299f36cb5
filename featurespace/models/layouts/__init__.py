"""Layouts of other libraries: what they call the tensors that timm has too."""
