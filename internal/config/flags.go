package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// flagValue collects the words of one flag; a flag with a list may be repeated.
type flagValue struct {
	option *option
	words  []string
}

func (v *flagValue) Set(text string) error {
	words := v.option.words(text)
	if v.option.kind.list {
		words = append(v.words, words...)
	}
	v.words = words
	return nil
}

func (v *flagValue) String() string { return strings.Join(v.words, ",") }
func (v *flagValue) Type() string   { return v.option.kind.word }

// readFlags returns the words of the flags in args by option.
func (l *loader) readFlags(args []string) (words, error) {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	for _, o := range withFileOption() {
		f := set.VarPF(&flagValue{option: o}, o.flag(), "", o.help)
		if o.kind.word == boolean.word {
			f.NoOptDefVal = "true"
		}
	}
	err := set.Parse(l.dropUnknown(args, set))
	var valueRequired *pflag.ValueRequiredError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return nil, ErrHelp
	case errors.As(err, &valueRequired):
		o := valueRequired.GetFlag().Value.(*flagValue).option
		l.problem("flag --%s has no value; it takes %s, for example --%s=%s", o.flag(), o.kind.takes, o.flag(), o.example)
	case err != nil:
		l.problem("%v; %s lists the flags", err, helpCommand)
	}
	for _, arg := range set.Args() {
		l.problem("unexpected argument %s; options are given as --name=value, and %s lists them", shown(arg), helpCommand)
	}
	values := words{}
	set.Visit(func(f *pflag.Flag) {
		v := f.Value.(*flagValue)
		values[v.option.key] = v.words
	})
	return values, nil
}

// dropUnknown reports unknown flags and returns args without them. pflag would stop
// at the first one.
func (l *loader) dropUnknown(args []string, set *pflag.FlagSet) []string {
	var kept []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		name, _, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case arg == "--":
			return append(kept, args[i:]...)
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			kept = append(kept, arg)
			continue
		case name == "help" || arg == "-h":
			return []string{"--help"}
		}
		f := set.Lookup(name)
		hasNext := !assigned && i+1 < len(args)
		if f != nil && strings.HasPrefix(arg, "--"+name) {
			kept = append(kept, arg)
			if hasNext && f.NoOptDefVal == "" {
				i++
				kept = append(kept, args[i])
			}
			continue
		}
		l.unknownFlag(arg, name)
		if hasNext && !strings.HasPrefix(args[i+1], "-") {
			i++ // most likely its value
		}
	}
	return kept
}

func (l *loader) unknownFlag(arg, name string) {
	written, _, _ := strings.Cut(arg, "=")
	if o := nearest(name, withFileOption()); o != nil {
		l.problem("unknown flag %s; did you mean --%s?", written, o.flag())
		return
	}
	l.problem("unknown flag %s; %s lists the flags", written, helpCommand)
}

func flagOrigin(o *option) string { return fmt.Sprintf("flag --%s", o.flag()) }
