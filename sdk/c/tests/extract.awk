# Writes the blocks of a Markdown text that begin with the name of a file, `// src/name.c`, to files of that name below `into`.
/^```/ { inside = !inside; first = inside; if (file) close(file); file = ""; next }
inside && first { first = 0; if ($1 == "//" && $2 ~ /^(src|tests)\//) { file = into "/" $2; found++ } }
file { print > file }
END { if (found != 6) { print "expected 6 files in the text, found " found > "/dev/stderr"; exit 1 } }
