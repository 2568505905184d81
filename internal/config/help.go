package config

import (
	"fmt"
	"strings"
)

// sections are the titles of the sections, in the order of the table.
var sections = []struct{ name, title string }{
	{"", "Server"},
	{"log", "Logging"},
	{"limits", "Limits"},
	{"presence", "Presence"},
	{"realtime", "Clients of Supabase, with dialect: realtime"},
	{"history", "History"},
	{"events", "Events that hooks are told"},
	{"drain", "Draining"},
	{"api", "HTTP API"},
	{"metrics", "Metrics"},
	{"auth", "Authentication"},
	{"tls", "TLS"},
	{"cluster", "Cluster"},
}

// helpCommand is the command that prints Help, as errors quote it.
const helpCommand = `"mycelium help serve"`

const helpColumns = 80

// Help returns the help text of all flags, for a terminal.
func Help() string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "%s\n", s.title)
		for _, o := range inSection(s.name) {
			fmt.Fprintf(&b, "  --%s %s\n", o.flag(), o.kind.word)
			writeWrapped(&b, "      ", o.text()+" "+o.defaultText())
		}
		b.WriteByte('\n')
	}
	writeWrapped(&b, "", "Each flag is an environment variable too, --limits-max-channels being "+
		"MYCELIUM_LIMITS_MAX_CHANNELS, and a key of the file, max_channels in the section limits. "+
		"Flags win over variables, variables over the file. "+
		"Lists are cut at commas; a flag with a list may be repeated.")
	return b.String()
}

// Markdown returns the reference of all options: a table for each section.
func Markdown() string {
	var b strings.Builder
	for _, s := range sections {
		fmt.Fprintf(&b, "## %s\n\n", s.title)
		b.WriteString("| key in a file | flag | environment variable | default | |\n|---|---|---|---|---|\n")
		for _, o := range inSection(s.name) {
			key := "`" + o.key + "`"
			if o == fileOption {
				key = "–"
			}
			fmt.Fprintf(&b, "| %s | `--%s` | `%s` | %s | %s Takes %s; example: `%s`.%s |\n",
				key, o.flag(), o.env(), o.defaultCell(), o.text(), o.kind.takes, o.example, o.reloadText())
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func inSection(name string) []*option {
	var found []*option
	for _, o := range withFileOption() {
		if o.section() == name {
			found = append(found, o)
		}
	}
	return found
}

// text returns all that the help says about an option.
func (o *option) text() string {
	text := o.help
	if o.zero != "" {
		zero := "0"
		if o.kind.word == durationWord {
			zero = "0s"
		}
		text += " " + zero + ": " + o.zero + "."
	}
	if o.note != "" {
		text += " " + o.note
	}
	return text
}

func (o *option) reloadText() string {
	if o.live {
		return " *Reloaded.*"
	}
	return ""
}

func (o *option) defaultText() string {
	if o.def == "" {
		return "Default: none."
	}
	return "Default: " + o.def + o.counted() + "."
}

func (o *option) defaultCell() string {
	if o.def == "" {
		return "none"
	}
	return "`" + o.def + "`" + o.counted()
}

// counted returns the unit after a number; the help says what 0 means.
func (o *option) counted() string {
	if o.unit == "" || o.def == "0" {
		return ""
	}
	return " " + o.unit
}

// writeWrapped writes text in lines of at most helpColumns behind indent.
func writeWrapped(b *strings.Builder, indent, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > helpColumns && line != indent {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}
