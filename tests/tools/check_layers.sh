#!/bin/sh
# The three laws of design section 6, checked by reading includes:
#   a plugin includes nothing of Tenon's but <tenon/...> and its own folder;
#   the graph never runs anything: it includes no room above it;
#   core/run and the rooms below name no plugin.
# usage: check_layers.sh SOURCE_DIR
set -eu
cd "$1"
status=0

fail() {
    echo "$1" >&2
    status=1
}

# includes FILE...: "file:line:path" of every #include "..." in them
includes() {
    grep -nH '^#include "' "$@" 2>/dev/null | sed 's/#include "\([^"]*\)".*/\1/' || true
}

# Data goes down these floors and never up.
room_may_include() { # room
    case "$1" in
    base) echo "base" ;;
    config) echo "base config" ;;
    plugin) echo "base config plugin" ;;
    graph) echo "base graph" ;;
    model) echo "base config plugin graph model" ;;
    run) echo "base config plugin graph model run" ;;
    cli) echo "base config plugin graph model run cli" ;;
    esac
}
for room in base config plugin graph model run cli; do
    allowed=$(room_may_include "$room")
    for line in $(includes $(find "core/$room" -name '*.[ch]') | tr ' ' '_'); do
        path=${line##*:}
        case "$path" in
        */*) other=${path%%/*} ;;
        *) continue ;; # beside the file itself
        esac
        case " $allowed " in
        *" $other "*) ;;
        *) fail "${line%:*}: core/$room may not include \"$path\"" ;;
        esac
    done
done

# Plugins: quotes reach files of the plugin's own root folder only.
for file in $(find backends archs optimizers plugins -name '*.[ch]'); do
    for line in $(includes "$file" | tr ' ' '_'); do
        path=${line##*:}
        case "$path" in
        base/* | config/* | plugin/* | graph/* | model/* | run/* | cli/*)
            fail "${line%:*}: a plugin may not include \"$path\"" ;;
        esac
    done
done

# The core names no plugin: no component's name in a string of the core.
for plugin in $(find backends archs optimizers plugins -mindepth 1 -maxdepth 3 -name '*.c' \
    -exec sed -n 's/^TN_[A-Z]*(\([a-z0-9_]*\)) = {.*/\1/p' {} + | sort -u); do
    case "$plugin" in
    template | constant | linear) continue ;; # ordinary words as well
    esac
    if grep -nE "\"$plugin\"" $(find core/base core/config core/plugin core/graph core/model core/run -name '*.[ch]'); then
        fail "core names the plugin \"$plugin\""
    fi
done

# Only core/cli prints to stdout or exits.
if grep -nE '\b(printf|puts|exit|_exit|abort)\(' \
    $(find core/config core/graph core/model core/run -name '*.c') | grep -v snprintf; then
    fail "only core/cli may print or exit"
fi
exit $status
