# Everything that ships and every baseline, from nothing, by `make reproduce-train`; each step goes on where it stopped.
# What was trained replaces what lies in checkpoints/ and benchmarks/mixture/baselines/; the runs stay in runs/.
set -e
run() { OMP_NUM_THREADS=1 "$BIN/python" -m sam_moe "$@" --set data.folder="$DATA"; }
both() { OMP_NUM_THREADS=1 "$BIN/python" -m torch.distributed.run --standalone --nproc_per_node=2 -m sam_moe "$@" --set data.folder="$DATA"; }

both pretrain checkpoints/small/recipe.yaml
cp runs/small/card.json runs/small/model.safetensors checkpoints/small/
for expert in $EXPERTS; do
    run finetune "checkpoints/$expert/recipe.yaml"
    cp "runs/$expert/card.json" "runs/$expert/model.safetensors" "checkpoints/$expert/"
done
run train-gate checkpoints/small-moe/recipe.yaml
cp runs/small-moe/card.json runs/small-moe/model.safetensors runs/small-moe/bank.safetensors checkpoints/small-moe/

# Baselines: one task after the other, all at once, gates that see less.
run finetune checkpoints/spinal-cord/recipe.yaml --set run=runs/sequence-2 --set start=runs/esophagus --set card.id=sequence-2 --set schedule.steps=600 --set validate_every=200
run finetune checkpoints/hippocampus/recipe.yaml --set run=runs/sequence-3 --set start=runs/sequence-2 --set card.id=sequence-3 --set schedule.steps=600 --set validate_every=200
run finetune benchmarks/mixture/baselines/sequence/recipe.yaml
run finetune benchmarks/mixture/baselines/joint/recipe.yaml
for sees in image prompt; do
    mkdir -p "runs/gate-$sees"
    cp runs/small-moe/train.safetensors runs/small-moe/validation.safetensors runs/small-moe/table-*.safetensors "runs/gate-$sees/"  # the same prompts
    run train-gate checkpoints/small-moe/recipe.yaml --set run="runs/gate-$sees" --set mode="$sees" --set card.id="gate-$sees"
done
for baseline in sequence joint gate-image gate-prompt; do
    cp "runs/$baseline/card.json" "runs/$baseline/model.safetensors" "benchmarks/mixture/baselines/$baseline/"
done
for sees in image prompt; do cp "runs/gate-$sees/bank.safetensors" "benchmarks/mixture/baselines/gate-$sees/"; done
