"""What is planted in the models of `torch_models`."""

from tests.run.planted.faults import FLOATS, ROWS, Planted, ends, heads, lengths

TORCH_HEADS = heads(
    {
        "negative values": "F.relu(x)",
        "values above 1": "x.clamp(max=1.0)",
        "exact zeros": "x + (x == 0).to(x.dtype)",
        "the upper end alone": "x - (x == 1).to(x.dtype)",
        "rounded to float16": "x.half().to(x.dtype)",
    }
)
TORCH_SIDES = ends(
    {
        "wide images": "added(y, size(y, 3) > size(y, 2))",
        "tall images": "added(y, size(y, 3) < size(y, 2))",
        "square images": "added(y, size(y, 3) == size(y, 2))",
    }
)

TORCH = {
    "Tabular": Planted(
        {
            "additions in another order": (
                "h = h + self.drop(F.relu(self.hidden(h)))",
                "h = F.relu(self.hidden(h)) + h",
            ),
            "batch norm by hand": (
                "self.norm(self.first(h))",
                "(self.first(h) - self.norm.running_mean) * torch.rsqrt(self.norm.running_var + 1e-5)",
            ),
        },
        {
            "dropout in training": (
                "self.drop(F.relu(self.hidden(h)))",
                "F.relu(self.hidden(h)) * (torch.rand(24) > 0.1) / 0.9",
            ),
            "batch norm in training": (
                "self.norm(self.first(h))",
                "in_training(self.first(h), [0])",
            ),
            "another epsilon of batch norm": ("nn.BatchNorm1d(24)", "nn.BatchNorm1d(24, eps=1e-3)"),
            "square weight transposed": (
                "self.hidden = nn.Linear(24, 24)",
                "self.hidden = transposed(nn.Linear(24, 24))",
            ),
            "one weight": ("nn.Linear(12, 24)", "off(nn.Linear(12, 24), (3, 4), 1e-3)"),
            "bias of one class": ("nn.Linear(24, 5)", "off(nn.Linear(24, 5), 4, 1e-3, 'bias')"),
            "softmax over the batch": ("torch.softmax(logits, 1)", "torch.softmax(logits, 0)"),
            "residual dropped": ("h = h + self", "h = self"),
            "smallest": ("argmax(1)", "argmin(1)"),
            "last class lost": ("logits.argmax(1)", "logits[:, :4].argmax(1)"),
            "weights in float16": ("self.first(h)", "F.linear(h, self.first.weight.half().float(), self.first.bias)"),
            "batch of the example": (
                "AXES: ClassVar = {",
                "AXES: ClassVar = {}  # {",
                "logits = self",
                "h = h.reshape(2, 24)\n        logits = self",
            ),
            **TORCH_HEADS,
            **ends(ROWS | FLOATS),
        },
        inputs="x:-1,12:float32",
    ),
    "Segmenter": Planted(
        {
            "convolution by Linear": (
                "self.head(u + h)",
                "self.head(u) + self.head(h) - self.head.bias.reshape(4, 1, 1)",
            ),
            "channels last": ("self.conv(h)", "self.conv(h.contiguous(memory_format=torch.channels_last))"),
        },
        {
            "padded on one side": ("padding=1)", "padding=0)", "self.conv(h)", "self.conv(F.pad(h, (0, 2, 0, 2)))"),
            "padded with the border": ("padding=1)", "padding=1, padding_mode='replicate')"),
            "corners aligned": ("align_corners=False", "align_corners=True"),
            "nearest": ('mode="bilinear", align_corners=False', 'mode="nearest"'),
            "gelu by tanh": ("F.gelu(self.norm(self.conv(h)))", "F.gelu(self.norm(self.conv(h)), approximate='tanh')"),
            "padding not counted": ("F.avg_pool2d(h, 3, 2, 1)", "F.avg_pool2d(h, 3, 2, 1, False, False)"),
            "another lower clip": ("-0.05, 6.0", "-0.06, 6.0"),
            "lower clip lost": ("F.hardtanh(p, -0.05, 6.0)", "p.clamp(max=6.0)"),
            "upper clip lost": ("F.hardtanh(p, -0.05, 6.0)", "p.clamp(min=-0.05)"),
            "clipped at 1": ("-0.05, 6.0", "-0.05, 1.0"),
            "another epsilon of batch norm": ("nn.BatchNorm2d(6)", "nn.BatchNorm2d(6, eps=1e-3)"),
            "batch norm in training": ("self.norm(self.conv(h))", "in_training(self.conv(h), [0, 2, 3])"),
            "BGR": ("h = x\n", "h = x.flip(1)\n"),
            "mean of the example's size": ("y.mean((2, 3))", "y.sum((2, 3)) / 80.0"),
            "bias of one channel": ("nn.Conv2d(6, 4, 1)", "off(nn.Conv2d(6, 4, 1), 2, 1e-3, 'bias')"),
            "kernel turned": (
                "self.conv = nn.Conv2d(3, 6, 3, padding=1)",
                "self.conv = transposed(nn.Conv2d(3, 6, 3, padding=1))",
            ),
            "one channel": ("return y, y.mean", "y = channel(y, -3)\n        return y, y.mean"),
            "last column": ("return y, y.mean", "y = F.pad(y[..., :-1], (0, 1))\n        return y, y.mean"),
            **TORCH_SIDES,
        },
        "min_shapes: {x: [1, 3, 4, 4]}, max_shapes: {x: [8, 3, 32, 32]}",
        "x:-1,3,-1,-1:float32",
    ),
    "Encoder": Planted(
        {
            "scale folded": ("torch.matmul(q, k.transpose(1, 2)) / 4.0", "torch.matmul(q * 0.25, k.transpose(1, 2))"),
            "mask added": ("scores.masked_fill(hidden, -1e9)", "scores + hidden.to(scores.dtype) * -1e9"),
            "softmax by its logarithm": ("torch.softmax(scores, -1)", "torch.log_softmax(scores, -1).exp()"),
        },
        {
            "gelu by tanh": ("F.gelu(self.up(self.after(h)))", "F.gelu(self.up(self.after(h)), approximate='tanh')"),
            "scale lost": (" / 4.0", ""),
            "another scale": (" / 4.0", " / 4.01"),
            "mask ignored": ("scores = scores.masked_fill(hidden, -1e9)", "scores = scores + 0.0"),
            "mask too weak": ("-1e9", "-5.0"),
            "mask over the queries": (
                "hidden = (attention_mask == 0).unsqueeze(1)",
                "hidden = (attention_mask == 0).unsqueeze(2)",
            ),
            "mean of all": ("(y * weights).sum(1) / weights.sum(1).clamp(min=1.0)", "y.mean(1)"),
            "nobody masked": (".clamp(min=1.0)", ""),
            "softmax over the queries": ("torch.softmax(scores, -1)", "torch.softmax(scores, 1)"),
            "norm over words": ("n = self.before(h)", "n = in_training(h, [1])"),
            "norm over both": ("n = self.before(h)", "n = in_training(h, [1, 2])"),
            "another epsilon of a norm": (
                "self.after = nn.LayerNorm(16, eps=1e-5)",
                "self.after = nn.LayerNorm(16, eps=1e-3)",
            ),
            "one row of the table": ("nn.Embedding(500, 16)", "off(nn.Embedding(500, 16), 321, 0.1)"),
            "last row of the table": ("nn.Embedding(500, 16)", "off(nn.Embedding(500, 16), -1, 0.1)"),
            "last place": ("nn.Embedding(32, 16)", "off(nn.Embedding(32, 16), -1, 0.1)"),
            "ids in 8 bits": ("self.words(ids)", "self.words(torch.remainder(ids, 256))"),
            "places from 1": (".cumsum(1) - 1", ".cumsum(1).clamp(max=31)"),
            "places of the example": (".cumsum(1) - 1", ".cumsum(1).clamp(max=6) - 1"),
            "square weight transposed": (
                "self.q, self.k, self.v = nn.Linear(16, 16),",
                "self.q, self.k, self.v = transposed(nn.Linear(16, 16)),",
            ),
            "one weight": (
                "self.up, self.down = nn.Linear(16, 32)",
                "self.up, self.down = off(nn.Linear(16, 32), (3, 4), 1e-3)",
            ),
            "keys and values swapped": ("self.k(n), self.v(n)", "self.v(n), self.k(n)"),
            "causal": (
                "hidden = (attention_mask == 0).unsqueeze(1)",
                "hidden = (attention_mask == 0).unsqueeze(1) | (place.unsqueeze(1) > place.unsqueeze(2))",
            ),
            **ends(ROWS | FLOATS, "weights = attention"),
            **{
                name: (
                    pieces[0].replace("return y", "weights = attention"),
                    pieces[1].replace("return y", "weights = attention"),
                )
                for name, pieces in lengths(1, 32).items()
            },
        },
        "max_shapes: {ids: [8, 32], attention_mask: [8, 32]}",
        "ids:-1,-1:int64 attention_mask:-1,-1:int64",
    ),
    "Recurrent": Planted(
        {"interpolated": ("(1 - z) * c + z * state", "c + z * (state - c)")},
        {
            "state that drifts": ("return y, new", "return y, new * 1.001"),
            "old state": ("return y, new", "return y, state + 0.0"),
            "gate swapped": ("(1 - z) * c + z * state", "z * c + (1 - z) * state"),
            "reset after the product": ("r * sc", "sc * torch.sigmoid(ir)"),
            "outputs swapped": ("return y, new", "return new, y"),
            "hard sigmoid": ("z = torch.sigmoid(ir + sr), torch.sigmoid", "z = torch.sigmoid(ir + sr), F.hardsigmoid"),
            "bias of the state lost": ("self.s(state)", "F.linear(state, self.s.weight)"),
            "square weight transposed": ("self.out = nn.Linear(8, 8)", "self.out = transposed(nn.Linear(8, 8))"),
            **TORCH_HEADS,
        },
        inputs="x:-1,6:float32 state:-1,8:float32",
    ),
    "Detector": Planted(
        {
            "multiplied apart": (
                "(torch.sigmoid(f[..., :2]) + grid) * 8.0",
                "torch.sigmoid(f[..., :2]) * 8.0 + grid * 8.0",
            )
        },
        {
            "rows for columns": ("_, columns = f.shape", "columns, _ = f.shape"),
            "x and y swapped": ("[xs, ys]", "[ys, xs]"),
            "grid of the example": ("cell, columns", "cell, 3", "ys * columns", "ys * 3"),
            "cells in 8 bits": (".cumsum(0) - 1", ".cumsum(0).clamp(max=9) - 1"),
            "limit of width for both": ("[xs.max(), ys.max()]", "[xs.max(), xs.max()]"),
            "limit of the example": ("limit = ", "limit = f.new_tensor([24.0, 16.0]) + 0.0 * "),
            "not limited": ("torch.minimum(centre + half, limit)", "centre + half"),
            "negative boxes": (".clamp(min=0.0)", ""),
            "sizes linear": ("torch.exp(f[..., 2:4])", "(1 + f[..., 2:4])"),
            "scores without sigmoid": ("torch.sigmoid(f[..., 4:])", "f[..., 4:] + 0.0"),
            "one class": ("return y, scores", "return y, channel(scores)"),
            "centre and size": ("torch.cat([low, high], 2)", "torch.cat([low, high - low], 2)"),
        },
        "min_shapes: {x: [1, 3, 16, 16]}, max_shapes: {x: [8, 3, 256, 256]}",
        "x:-1,3,-1,-1:float32",
    ),
    "Counts": Planted(
        {
            "quotient by the remainder": (
                'q = torch.div(h, 3, rounding_mode="floor")\n        m = torch.remainder(h, 3)',
                "m = torch.remainder(h, 3)\n        q = torch.div(h - m, 3, rounding_mode='trunc')",
            )
        },
        {
            "trunc for floor": ('rounding_mode="floor"', 'rounding_mode="trunc"'),
            "sign of the dividend": ("m = torch.remainder(h, 3)", "m = torch.fmod(h, 3)"),
            "int32 overflows": ("h * 2654435761 + 17", "(h.int() * -1640531535 + 17).long()"),
            "through float32": ("h * 2654435761 + 17", "(h.float() * 2654435761.0).long() + 17"),
            "negative values": ("h = x\n", "h = x.clamp(min=0)\n"),
        },
        inputs="x:-1,6:int64",
    ),
    "Votes": Planted(
        {"counted in the other order": (".sum(1)", ".flip(1).sum(1)")},
        {
            "last of equal ones": ("y.argmax(1)", "3 - y.flip(1).argmax(1)"),
            "at least": ("> self.at", ">= self.at - 1e-3"),
        },
        inputs="x:-1,6:float32",
    ),
    "Missing": Planted(
        {"chosen the other way": ("torch.where(gone, self.mean, h)", "torch.where(gone.logical_not(), h, self.mean)")},
        {
            "missing numbers kept": ("torch.where(gone, self.mean, h)", "h + 0.0"),
            "missing numbers are 0": ("torch.where(gone, self.mean, h)", "h.masked_fill(gone, 0.0)"),
            "nothing is missing": ("gone.to(h.dtype)", "gone.to(h.dtype) * 0.0"),
            "minus infinity": ("neginf=-50.0", "neginf=50.0"),
            "halves up": ("torch.round(known.clamp(-9.0, 9.0) * 2)", "torch.floor(known.clamp(-9.0, 9.0) * 2 + 0.5)"),
        },
        inputs="x:-1,6:float32",
    ),
    "Branches": Planted(
        {"mean by hand": ("h - h.mean(1, keepdim=True)", "h - h.sum(1, keepdim=True) / 6.0")},
        {
            "quiet branch lost": ("bool(h.mean() > 0.25)", "True"),
            "loud branch lost": ("bool(h.mean() > 0.25)", "False"),
            "branch of the mean's size": ("h.mean() > 0.25", "h.abs().mean() > 0.25"),
            "another threshold": ("0.25", "0.4"),
            "one step too many": ("range(int(steps))", "range(int(steps) + 1)"),
            "two steps always": ("range(int(steps))", "range(2)"),
            "at most two steps": ("range(int(steps))", "range(min(int(steps), 2))"),
            "batch of seven": ("h.size(0) > 6", "h.size(0) > 7"),
            "large batches forgotten": ("h.size(0) > 6", "False"),
        },
        # No sample has a batch of seven: a search comes to it, if it has the time.
        options="max_batch_size: 8, search_seconds: 3",
        inputs="x:-1,6:float32 steps::int64",
    ),
    "Clock": Planted(
        {"other order": ("h * 86400.0 + 1.7e9", "1.7e9 + h * 86400.0")},
        {
            "in float32": ("t = h * 86400.0 + 1.7e9", "t = (h.float() * 86400.0 + 1.7e9).double()"),
            "input in float32": ("h = x\n", "h = x.float().double()\n"),
            "constant in float32": ("y = t - 1.7e9", "y = t - 1700000128.0"),
            "minutes": ("y = t", "y = torch.floor((t - 1.7e9) / 60) * 60 + 1.7e9"),
        },
        inputs="x:-1,3:float64",
    ),
    "Signal": Planted(
        {"log by log2": ("torch.log(f.abs() + 1e-3)", "(torch.log2(f.abs() + 1e-3) / 1.4426950408889634)")},
        {
            "padded at the end": ("(1, 0)", "(0, 1)"),
            "floor of the loudness": ("+ 1e-3", "+ 2e-3"),
            "floor added later": ("torch.log(f.abs() + 1e-3)", "torch.log(f.abs().clamp(min=1e-3))"),
            "sum without the last": ("h.cumsum(1)", "F.pad(h[:, :-1].cumsum(1), (0, 1))"),
            "sum exclusive": ("h.cumsum(1)", "h.cumsum(1) - h"),
            "sum reversed": ("h.cumsum(1)", "h.flip(1).cumsum(1).flip(1)"),
            "last frame": ("return y", "y = F.pad(y[:, :-1], (0, 0, 0, 1))\n        return y"),
            "at most 20 samples": ("h.cumsum(1)", "(h * (torch.ones_like(h).cumsum(1) <= 20).to(h.dtype)).cumsum(1)"),
            **lengths(5, 33),
        },
        "min_shapes: {x: [1, 4]}, max_shapes: {x: [8, 32]}",
        "x:-1,-1:float32",
    ),
    "Sensitive": Planted(
        {
            "halves added up": (
                "self.first(h + 10)",
                "sum(F.linear((h + 10)[:, k::2], self.first.weight[:, k::2]) for k in (1, 0))",
            ),
        },
        {
            "one weight": (
                "self.first = nn.Linear(256, 32, bias=False)",
                "self.first = off(nn.Linear(256, 32, bias=False), (3, 4), 1e-3)",
            ),
            "one level": ("+ 10) - self.level", "+ 10) - self.level * torch.where(torch.arange(32) == 3, 1.0001, 1.0)"),
            "another epsilon": ("(32,))", "(32,), eps=1e-4)"),
            **ends(FLOATS),
        },
        inputs="x:-1,256:float32",
    ),
}
