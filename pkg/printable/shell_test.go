package printable_test

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/printable"
)

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"k8s:ns:pay", "k8s:ns:pay"},
		{"spiffe://example.org/ns/pay/sa/api", "spiffe://example.org/ns/pay/sa/api"},
		{"registry.example.org/pay/api@sha256:0a", "registry.example.org/pay/api@sha256:0a"},
		{"-selector", "-selector"},
		{"a=b,c+d%e_f", "a=b,c+d%e_f"},
		{"", "''"},
		{"=ls", "'=ls'"},
		{"~root", "'~root'"},
		{"two words", "'two words'"},
		{"$(reboot)", "'$(reboot)'"},
		{"`reboot`", "'`reboot`'"},
		{"a;b", "'a;b'"},
		{"it's", `'it'\''s'`},
		{"'", `''\'''`},
		{`back\slash`, `'back\slash'`},
		{"!!", "'!!'"},
		{"{a,b}", "'{a,b}'"},
		{"*", "'*'"},
		{"#", "'#'"},
		{"Zürich", "'Zürich'"},
	} {
		got, err := printable.ShellQuote(c.in)
		if err != nil || got != c.want {
			t.Errorf("ShellQuote(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func TestWhatDoesNotPrintIsPutIntoNoCommand(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a\nb", "a\rb", "\t", "\x1b[201~reboot\r", "\x00", "\x7f", "\u0085", "\x9b", "\xff", "a\u202eb", "a\u200bb", "a\u00a0b", "\u0301a"} {
		if got, err := printable.ShellQuote(in); got != "" || !errors.Is(err, printable.ErrUnprintable) {
			t.Errorf("ShellQuote(%q) = %q, %v", in, got, err)
		}
		if got, err := printable.ShellCommand("printf", in); got != "" || !errors.Is(err, printable.ErrUnprintable) {
			t.Errorf("ShellCommand(printf, %q) = %q, %v", in, got, err)
		}
	}
	_, err := printable.ShellQuote("pay\x1b[201~" + strings.Repeat("x", 1<<20))
	want := `no command can be made of "pay\x1b[201~` + strings.Repeat("x", 200-9-12) + `... (cut)": it has characters that don't print and must not be pasted into a terminal`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// One process prints all words of the table and as many random ones.
func TestTheShellGivesEveryWordBack(t *testing.T) {
	t.Parallel()
	words := []string{"", "'", "''", `\`, `\'`, "\"", "$HOME", "$(id)", "`id`", "~", "=id", "-n", "--", "%s", `%s\n`, "a b", "  ", "!!", "a'b'c", "*", "?", "[a-z]", "{1..3}", "#x", "a#b", "&", "|", "<>", "(", ";;", "東京", "e\u0301", "FOO=bar", "if", "\\\\", `'\''`}
	random := rand.New(rand.NewPCG(1, 2))
	const alphabet = "'\"\\$`!*?[]{}()<>|&;#~=%^ -_.,:/@aZ0é京"
	runes := []rune(alphabet)
	for range 500 {
		word := make([]rune, random.IntN(12))
		for i := range word {
			word[i] = runes[random.IntN(len(runes))]
		}
		words = append(words, string(word))
	}
	command, err := printable.ShellCommand(append([]string{"printf", `%s\n`}, words...)...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", command).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(got) != len(words) {
		t.Fatalf("%d words became %d", len(words), len(got))
	}
	for i, word := range words {
		if got[i] != word {
			t.Errorf("%q came back as %q", word, got[i])
		}
	}
}

// unquote reads one word as POSIX says: single quotes keep everything, a backslash
// outside keeps the next character, and nothing else in the word is special.
func unquote(t *testing.T, word string) string {
	var out strings.Builder
	quoted := false
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
			out.WriteByte(c)
		case c == '\\' && i+1 < len(word):
			i++
			out.WriteByte(word[i])
		case strings.IndexByte("|&;<>()$`\\\" \t\n*?[#~!{}^", c) >= 0 || c >= 0x80:
			t.Fatalf("%q has %q outside quotes", word, c)
		default:
			out.WriteByte(c)
		}
	}
	if quoted || word == "" {
		t.Fatalf("%q is no word", word)
	}
	return out.String()
}

func FuzzShellQuote(f *testing.F) {
	for _, s := range []string{"", "a", "it's", "''", `\'`, "$(id)", "a\nb", "\xff", "=a", "京"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted, err := printable.ShellQuote(s)
		if printable.Line(s, 0) != s {
			if quoted != "" || !errors.Is(err, printable.ErrUnprintable) {
				t.Errorf("ShellQuote(%q) = %q, %v", s, quoted, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := unquote(t, quoted); got != s {
			t.Errorf("ShellQuote(%q) = %q, which is %q", s, quoted, got)
		}
		if printable.Line(quoted, 0) != quoted {
			t.Errorf("ShellQuote(%q) = %q does not print", s, quoted)
		}
	})
}
