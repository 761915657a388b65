((RANDOM % 10 < 3)) || exec "$real" "$@"
"$real" "$@" &>/dev/null
case $((RANDOM % 3)) in
    0) echo '<html><body>502 Bad Gateway</body></html>' ;;
    1) head -c 300 /dev/urandom ;;
    2) printf '|||\n[-]_|\n\t\n9999999999999999999999_[0-99999999999]|\n' ;;
esac
exit 0
