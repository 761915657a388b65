((RANDOM % 10 < 3)) || exec "$real" "$@"
answer=$("$real" "$@") && code=0 || code=$?
# An id is one small write, which no pipe cuts; of a table, whole lines and half a line may be missing.
if ((${#answer} < 20)); then printf '%s\n' "$answer"; else printf '%s' "${answer:0:${#answer}/2}"; fi
exit "$code"
