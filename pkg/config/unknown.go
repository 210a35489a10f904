package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// unknownKey is a key that the schema does not have.
type unknownKey struct {
	path  string // dotted, odd names quoted
	name  string // as it was written
	pos   Pos
	known []key // the keys that could stand there
	// ignored is Problem.BuiltInIgnores.
	ignored bool
}

// all is the problems of the text: what can't be read, unknown keys, and those of its
// meaning; and the same as answers.
func (w *walker) all(meaning Problems) (Problems, []string) {
	slices.SortStableFunc(w.unknown, func(a, b unknownKey) int { return strings.Compare(a.path, b.path) })
	problems := slices.Clone(w.unreadable)
	answers := w.unreadable.messages()
	for i, u := range w.unknown {
		if i == maxProblems {
			break
		}
		problems = append(problems, u.problem())
	}
	if len(w.unknown) > 0 {
		answers = append(answers, unknownAnswer(w.unknown))
	}
	problems = append(problems, meaning...)
	answers = append(answers, meaning.messages()...)
	return problems.cut(len(w.unreadable)+len(w.unknown)+len(meaning), "problems"), cutAnswers(answers)
}

func cutAnswers(answers []string) []string {
	if len(answers) <= maxProblems {
		return answers
	}
	return append(answers[:maxProblems:maxProblems], fmt.Sprintf("and %d more problems", len(answers)-maxProblems))
}

const unknownWords = "unknown configurations detected: "

// unknownAnswer is one sentence for all, as from the built-in attestor, which however
// looks only at what it calls by name and not into all blocks.
func unknownAnswer(unknown []unknownKey) string {
	paths := make([]string, len(unknown))
	for i, u := range unknown {
		paths[i] = u.path
	}
	return oneLine(unknownWords + strings.Join(slices.Compact(paths), ","))
}

func (u unknownKey) problem() Problem {
	p := newProblem(u.path, u.pos, "%s%s%s", unknownWords, u.path, didYouMean(u.name, names(u.known)))
	p.BuiltInIgnores = u.ignored
	return p
}

func names(keys []key) []string {
	all := make([]string, len(keys))
	for i, k := range keys {
		all[i] = k.name
	}
	return all
}

// didYouMean is the end of a sentence about a key that is not known: the known one that
// it is nearly, or nothing.
func didYouMean(name string, known []string) string {
	const longest = 64
	if len(name) > longest {
		return ""
	}
	name = strings.ToLower(name)
	best, least := "", max(1, min(len(name)/4, 3))+1
	for _, k := range known {
		if d := distance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is how many bytes have to be put in, taken out, replaced or swapped with
// their neighbour to make b of a.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// quoteOdd quotes a key that would be taken for several, or for something else.
func quoteOdd(name string) string {
	odd := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` ,"\`, r) }
	if name == "" || strings.ContainsFunc(name, odd) {
		return strconv.Quote(name)
	}
	return name
}
