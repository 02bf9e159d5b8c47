#!/bin/sh
# test_example.sh BUILD SOURCE CC: the how-to's architecture, out of tree.
#
# Compiled against the public headers alone, it passes the conformance checks,
# trains, resumes to the same bits, and decodes: nothing of Tenon is edited.
set -eu
build=$1 source=$2 cc=$3
unset TENON_PLUGIN_PATH TENON_BINARY TENON_SOURCE

work=$(mktemp -d /tmp/tenon-example-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
"$cc" -std=c11 -shared -fPIC -O2 -Wall -Wextra -Werror -I"$source/core/include" \
    -o tenon-arch-linear_attention.so "$source/tests/example/linear_attention.c" -lm

tenon() {
    "$build/bin/tenon" --plugin "$work/tenon-arch-linear_attention.so" "$@"
}

train() { # checkpoint folder, arguments...
    folder=$1
    shift
    tenon train -f "$source/tests/example/linear_attention.yaml" --headless \
        --set "data.train.path=$source/configs/demo/workshop.txt" \
        --set "data.val.path=$source/configs/demo/workshop.txt" \
        --set "checkpoint.dir=$work/$folder" "$@"
}

"$build/bin/tenon" check-plugin tenon-arch-linear_attention.so

echo "== train, then lose the last checkpoint and resume"
train whole > whole.log
cp -r whole cut
rm -r cut/step-00000040
train cut --resume auto > cut.log
for file in model.safetensors optimizer.safetensors; do
    cmp "whole/step-00000040/$file" "cut/step-00000040/$file"
done
tail -n 1 whole.log

echo "== decode"
tenon generate -m whole -p "MASTER:" --max-tokens 60 --temperature 0.9 > text
[ "$(wc -c < text)" -ge 60 ]
cat text
