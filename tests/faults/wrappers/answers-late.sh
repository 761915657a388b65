sleep "$((RANDOM % 2)).$((RANDOM % 10))"
exec "$real" "$@"
