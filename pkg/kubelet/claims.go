package kubelet

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/podseal/podseal/pkg/printable"
)

// Claims are what a bearer token says of itself. Nothing is verified: the kubelet
// judges the token, this only says what there is to say about it. The strings are
// fit for printing.
type Claims struct {
	// Subject and Audience are empty where the token does not tell.
	Subject  string
	Audience []string
	// IssuedAt, NotBefore and Expires are zero where the token does not tell.
	IssuedAt, NotBefore, Expires time.Time
}

// maxAudience is how many audiences are kept.
const maxAudience = 10

// readClaims reads the claims of a JWT, none where it is something else. A claim
// of the wrong type is left out.
func readClaims(token string) Claims {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return Claims{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return Claims{}
	}
	var wire struct {
		Subject   jsontext.Value `json:"sub"`
		Audience  jsontext.Value `json:"aud"`
		IssuedAt  jsontext.Value `json:"iat"`
		NotBefore jsontext.Value `json:"nbf"`
		Expires   jsontext.Value `json:"exp"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return Claims{}
	}
	c := Claims{
		Audience:  claimedList(wire.Audience),
		IssuedAt:  claimedTime(wire.IssuedAt),
		NotBefore: claimedTime(wire.NotBefore),
		Expires:   claimedTime(wire.Expires),
	}
	if subject := claimedList(wire.Subject); len(subject) == 1 {
		c.Subject = subject[0]
	}
	return c
}

// claimedList reads a string or a list of them.
func claimedList(v jsontext.Value) []string {
	var all []string
	switch v.Kind() {
	case '"':
		all = make([]string, 1)
		_ = json.Unmarshal(v, &all[0]) // a string is one
	case '[':
		if json.Unmarshal(v, &all) != nil {
			return nil
		}
	}
	all = all[:min(len(all), maxAudience)]
	for i := range all {
		all[i] = printable.Line(all[i], 200)
	}
	return all
}

func claimedTime(v jsontext.Value) time.Time {
	var seconds float64
	if v.Kind() != '0' || json.Unmarshal(v, &seconds) != nil || seconds < 1 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
