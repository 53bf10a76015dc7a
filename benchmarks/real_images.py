"""`python -m benchmarks.real_images RUN [--otsu dark]`: a run on its validation images.

Predicts the validation split of RUN/data.json with RUN/checkpoints/best.ckpt into RUN/validation,
as `microtome predict` does, and prints the table of docs/benchmarks.md, with baselines.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from microtome.evaluation import ConstantClass, Otsu, SemanticEvaluator
from microtome.inference import Tiling
from microtome.inference.batch import predict_files
from microtome.inference.inputs import find_inputs
from microtome.models import load_segmenter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--otsu", choices=("dark", "bright"))
    given = parser.parse_args()
    model = load_segmenter(given.run / "checkpoints" / "best.ckpt")
    usage = model.usage
    inputs = find_inputs(given.run / "data.json", model.classes, split="val")
    tiling = Tiling(usage.mode, usage.tile, usage.overlap)
    done = predict_files(inputs, model, given.run / "validation", tiling, overwrite=True)
    rows = {"microtome": (done.metrics, done.images)}
    baselines = {"constant class": ConstantClass(0, model.classes.num_classes)}
    if given.otsu:
        baselines[f"Otsu ({given.otsu} foreground)"] = Otsu(given.otsu)
    samples = [inputs.images.load(i) for i in range(len(inputs.images))]
    for name, baseline in baselines.items():
        evaluator = SemanticEvaluator(model.classes)
        for sample in samples:
            evaluator.process(baseline.predict_samples([sample]), [sample.truth])
        rows[name] = (evaluator.evaluate(), dict(evaluator.rows))
    last = model.classes.names[1:]
    print("| | mIoU | mean Dice | " + " | ".join(f"Dice {n}" for n in last) + " | mIoU per image |")
    print("|---" * (len(last) + 4) + "|")
    for name, (pooled, images) in rows.items():
        each = statistics.mean(row["miou"] for row in images.values())
        figures = [pooled["miou"], pooled["mean_dice"], *(pooled[f"dice/{n}"] for n in last), each]
        print(f"| {name} | " + " | ".join(f"{f:.3f}" for f in figures) + " |")


if __name__ == "__main__":
    main()
