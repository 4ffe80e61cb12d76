# Reads a file of /etc/config and the changes to it, and prints what holds: a line for each
# section, option and list member. Quotes are as in UCI: '..' and "..", with \ outside of '..'.
function words(text,    n, i, c, quote, word, begun) {
	n = 0; quote = ""; word = ""; begun = 0
	for (i = 1; i <= length(text); i++) {
		c = substr(text, i, 1)
		if (quote != "") {
			if (c == quote) quote = ""
			else if (c == "\\" && quote == "\"") word = word substr(text, ++i, 1)
			else word = word c
		} else if (c == "'" || c == "\"") { quote = c; begun = 1 }
		else if (c == "\\") { word = word substr(text, ++i, 1); begun = 1 }
		else if (c == "#" && !begun) break
		else if (c ~ /[ \t]/) { if (begun) W[++n] = word; word = ""; begun = 0 }
		else { word = word c; begun = 1 }
	}
	if (begun) W[++n] = word
	return n
}
function put(kind, id, name, value) { K[++N] = kind; S[N] = id; O[N] = name; V[N] = value }
function drop(id, name, value, only,    i) {
	for (i = 1; i <= N; i++)
		if (S[i] == id && (name == "" || (K[i] != "section" && O[i] == name)) \
			&& (!only || V[i] == value)) S[i] = ""
}
function there(id,    i) {
	for (i = 1; i <= N; i++) if (K[i] == "section" && S[i] == id) return 1
	return 0
}
FNR == 1 { file++ }
file == 1 || FILENAME == ARGV[1] {
	n = words($0)
	if (n == 0) next
	if (W[1] == "config") {
		sections++; id = n > 2 ? W[3] : sprintf("cfg%02x%s", sections, "411c")
		if (!there(id)) put("section", id, W[2], "")
	} else if (W[1] == "option") { drop(id, W[2]); put("option", id, W[2], W[3]) }
	else if (W[1] == "list") put("list", id, W[2], W[3])
	next
}
{
	split($0, part, "\t")
	if (part[1] == "set" && part[3] == "") {
		drop(part[2]); put("section", part[2], part[4], "")
	} else if (part[1] == "set") {
		drop(part[2], part[3])
		if (part[4] != "") put("option", part[2], part[3], part[4])
	} else if (part[1] == "add_list") put("list", part[2], part[3], part[4])
	else if (part[1] == "del_list") drop(part[2], part[3], part[4], 1)
	else if (part[1] == "delete") drop(part[2], part[3])
}
END {
	for (i = 1; i <= N; i++) {
		if (K[i] != "section" || S[i] == "") continue
		print "section\t" S[i] "\t" O[i] "\t"
		for (j = 1; j <= N; j++)
			if (K[j] != "section" && S[j] == S[i]) print K[j] "\t" S[j] "\t" O[j] "\t" V[j]
	}
}
