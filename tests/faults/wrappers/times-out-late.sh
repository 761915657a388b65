((RANDOM % 10 < 3)) || exec "$real" "$@"
"$real" "$@" &>/dev/null
exec sleep 600
