"""How the examples become programs of torch.export and TorchScript, in a process of its own, which has torch."""

MAKE = """
import sys, torch
from torch.export import Dim
sys.path.insert(0, {examples!r})
from architectures import BertSmall, MlpMixer, ResNet50
only = {only!r}
def exported(name, model, arguments, **more):
    if not only or name in only:
        torch.export.save(torch.export.export(model, arguments, **more), name)
def traced(name, model, arguments):
    if not only or name in only:
        torch.jit.save(torch.jit.trace(model, arguments, check_trace=False), name)
torch.manual_seed(0)
with torch.no_grad():
    batch, length = Dim("batch", min=1, max=64), Dim("length", min=2, max=512)
    ids, mask = torch.randint(0, 8192, (2, 24)), torch.ones(2, 24, dtype=torch.int64)
    bert, mixer, resnet = BertSmall().eval(), MlpMixer().eval(), ResNet50().eval()
    image = torch.rand(2, 3, 128, 128)
    both = {{0: batch, 1: length}}
    exported("bert_small.pt2", bert, (ids, mask), dynamic_shapes=(both, both))
    exported("mlp_mixer.pt2", mixer, (image,), dynamic_shapes=({{0: batch}},))
    exported("named.pt2", bert, (ids,), kwargs={{"attention_mask": mask}})
    traced("bert_small.pt", bert, (ids, mask))
    traced("resnet50.pt", resnet, image)
"""
