package sigstore_test

import (
	"strings"
	"testing"

	"github.com/podseal/podseal/pkg/sigstore"
)

// What looks like a member inside of a string is none, whatever is escaped in it.
func TestTheShapeOfADocument(t *testing.T) {
	t.Parallel()
	for text, commas := range map[string]int{
		``: 0, `{}`: 0, `[1,2,3]`: 2, `{"a":",,,","b":1}`: 1, `["\"",","]`: 1, `["\\",","]`: 1, `["\\\",",","]`: 1, `["\\\\",1]`: 1, `"`: 0, `"\"`: 0, `"\`: 0,
		`["` + strings.Repeat(`\\`, 50) + `",1]`: 1, `["` + strings.Repeat(`\"`, 50) + `",1]`: 1, `"",""`: 1,
	} {
		if err := sigstore.Shape([]byte(text), commas); err != nil {
			t.Errorf("%q has more than %d: %v", text, commas, err)
		}
		if err := sigstore.Shape([]byte(text), commas-1); err == nil && commas > 0 {
			t.Errorf("%q has not %d", text, commas)
		}
	}
	for text, ok := range map[string]bool{
		strings.Repeat("[", 64): true, strings.Repeat("[", 65): false, strings.Repeat("[]", 100): true, `"` + strings.Repeat("[", 100) + `"`: true, strings.Repeat(`{"a":`, 65): false,
	} {
		if err := sigstore.Shape([]byte(text), 100); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
