echo "*** 77 jobs of yours ended last week; job 12_3 was the last ***"
answer=$("$real" "$@") && code=0 || code=$?
# The same rows once more, for arrays that belong to somebody else.
[[ ${real##*/} != squeue ]] || sed -nE 's/^[0-9]+/99&/p' <<<"$answer"
[[ -z $answer ]] || printf '%s\n' "$answer"
exit "$code"
