((RANDOM % 10 < 3)) || exec "$real" "$@"
echo "${real##*/}: error: Unable to contact slurm controller (connect failure)" >&2
exit 1
