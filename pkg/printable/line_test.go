package printable_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/podseal/podseal/pkg/printable"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in, want string
	}{
		{"nothing", "", ""},
		{"ASCII", `pods "a" is forbidden: \ and 'b'`, `pods "a" is forbidden: \ and 'b'`},
		{"letters of the world", "Zürich 東京 عمان 👍", "Zürich 東京 عمان 👍"},
		{"a second line that looks like ours", "x\nok  kubelet-name", `x\nok  kubelet-name`},
		{"all of C0", "\x00\a\b\t\v\f\r\x7f", `\x00\a\b\t\v\f\r\x7f`},
		{"a terminal's escape sequence", "\x1b]0;title\a\x1b[2J", `\x1b]0;title\a\x1b[2J`},
		{"the same with a C1 character", "\u009b2J", `\u009b2J`},
		{"the same with a byte that some terminals take for it", "\x9b2J", `\x9b2J`},
		{"next line", "a\u0085b", `a\u0085b`},
		{"line and paragraph separators", "a\u2028b\u2029c", `a\u2028b\u2029c`},
		{"text that is reordered", "a\u202egpj.\u202c\u2067", `a\u202egpj.\u202c\u2067`},
		{"marks of direction", "\u200e\u200f\u061c", `\u200e\u200f\u061c`},
		{"zero width", "a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg", `a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg`},
		{"spaces that are none", "a\u00a0b\u3000c\u2003d", `a\u00a0b\u3000c\u2003d`},
		{"letters that show nothing", "a\u3164b\u115fc\uffa0d\u2800e\u034ff", `a\u3164b\u115fc\uffa0d\u2800e\u034ff`},
		{"variants of characters", "a\ufe0fb\U000e0100", `a\ufe0fb\U000e0100`},
		{"hidden tags", "a\U000e0041", `a\U000e0041`},
		{"private and unassigned", "\ue000\U000f0000\u0378", `\ue000\U000f0000\u0378`},
		{"no UTF-8", "a\xff\xc3(\xe6\x9d", `a\xff\xc3(\xe6\x9d`},
		{"a surrogate in UTF-8", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"the replacement character, really written", "a\ufffdb", "a\ufffdb"},
		{"marks on a letter", "e\u0301\u0308", "e\u0301\u0308"},
		{"a mark on what we wrote", "\u0338=", `\u0338=`},
		{"a tone of skin without a hand", "\U0001F3FD \U0001F44D\U0001F3FD", `\U0001f3fd ` + "\U0001F44D\U0001F3FD"},
		{"a vowel without a consonant", "\u0e33\u0e01\u0e33", `\u0e33` + "\u0e01\u0e33"},
		{"marks on an escape", "\n\u0301\u0301x\u0301", `\n\u0301\u0301x` + "\u0301"},
	} {
		if got := printable.Line(c.in, 0); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestALineOfMoreThanMaxBytesIsCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		max      int
		want     string
	}{
		{"as long as may be", "0123456789abcde", 15, "0123456789abcde"},
		{"one more", "0123456789abcdef", 15, "012345... (cut)"},
		{"long only when escaped", "0123456789ab\n\n", 15, "012345... (cut)"},
		{"never inside an escape", "0123\x1b0123456789", 15, "0123... (cut)"},
		{"never inside a character", "01234京0123456789", 15, "01234... (cut)"},
		{"no room but for the mark", "0123456789", 9, "... (cut)"},
		{"not even that", "0123456789", 4, "... "},
		{"one byte", "0123456789", 1, "."},
		{"no bound", strings.Repeat("x", 1000), 0, strings.Repeat("x", 1000)},
		{"no bound either", strings.Repeat("x", 1000), -1, strings.Repeat("x", 1000)},
	} {
		got := printable.Line(c.in, c.max)
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// shown says in other words than the package's what a line may have.
func shown(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r)
}

func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\x1b[2J", "\xff", "\ufffd", "e\u0301", "\u0301", "\u202e", "東京", "... (cut)", strings.Repeat("\u0301\n", 20)} {
		for _, max := range []int{0, 1, 9, 10, 20} {
			f.Add(s, max)
		}
	}
	f.Fuzz(func(t *testing.T, s string, max int) {
		got := printable.Line(s, max)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !shown(r) }) {
			t.Errorf("Line(%q, %d) = %q does not print", s, max, got)
		}
		if max > 0 && len(got) > max {
			t.Errorf("Line(%q, %d) = %q has %d bytes", s, max, got, len(got))
		}
		if again := printable.Line(got, max); again != got {
			t.Errorf("Line(%q, %d) = %q, and of that %q", s, max, got, again)
		}
		whole := printable.Line(s, 0)
		if max > 0 && len(whole) > max {
			body, cut := strings.CutSuffix(got, "... (cut)")
			if max >= len("... (cut)") && !cut || cut && !strings.HasPrefix(whole, body) {
				t.Errorf("Line(%q, %d) = %q is no beginning of %q", s, max, got, whole)
			}
		} else if got != whole {
			t.Errorf("Line(%q, %d) = %q, without a bound %q", s, max, got, whole)
		}
	})
}
