# Where a test names a file, as long as there is one.
if [[ -n ${silence-} ]]; then
    [[ ! -e $silence ]] || exit 0
elif ((RANDOM % 10 < 3)); then
    exit 0
fi
exec "$real" "$@"
