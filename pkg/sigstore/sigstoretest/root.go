package sigstoretest

import (
	"cmp"
	"crypto"
	"encoding/json"
	"time"
)

// Root is a trusted_root.json: whom a verifier believes, and when. It is plain
// data, for a test to change.
type Root struct {
	// MediaType is that of version 0.1 by default.
	MediaType     string
	Logs, CTLogs  []RootLog
	Fulcios, TSAs []RootCA
}

// RootLog is a log in a Root.
type RootLog struct {
	URL string
	// ID is the log's identifier; without it, as in some roots, there is no logId.
	ID  []byte
	Key crypto.PublicKey
	// Valid's ends are left out where they are zero, and validFor where both are.
	Valid Period
}

// RootCA is a Fulcio or a timestamp authority in a Root.
type RootCA struct {
	URI string
	// Chain is in DER, the root last.
	Chain [][]byte
	Valid Period
}

// Trust is a root that believes these: each a *Log, *CTLog, *CA or *TSA.
func Trust(authorities ...Authority) Root {
	var r Root
	for _, a := range authorities {
		a.trust(&r)
	}
	return r
}

// Authority is what a trusted root can name.
type Authority interface{ trust(*Root) }

func (l *Log) trust(r *Root) { r.Logs = append(r.Logs, RootLog{l.URL, l.id, l.Public(), l.Valid}) }

func (l *CTLog) trust(r *Root) {
	r.CTLogs = append(r.CTLogs, RootLog{l.URL, keyID(l.key.Public()), l.key.Public(), l.Valid})
}

func (ca *CA) trust(r *Root) { r.Fulcios = append(r.Fulcios, RootCA{ca.URI, ca.Chain(), ca.Valid}) }

func (t *TSA) trust(r *Root) { r.TSAs = append(r.TSAs, RootCA{t.URI, t.Chain(), t.Valid}) }

// JSON is the root as a file.
func (r Root) JSON() []byte {
	return must(json.MarshalIndent(object{
		"mediaType":              cmp.Or(r.MediaType, "application/vnd.dev.sigstore.trustedroot+json;version=0.1"),
		"tlogs":                  objects(r.Logs, RootLog.object),
		"ctlogs":                 objects(r.CTLogs, RootLog.object),
		"certificateAuthorities": objects(r.Fulcios, RootCA.object),
		"timestampAuthorities":   objects(r.TSAs, RootCA.object),
	}, "", "  "))
}

func (l RootLog) object() object {
	key := object{"rawBytes": encode64(spki(l.Key)), "keyDetails": keyDetails(l.Key, 0)}
	l.Valid.addTo(key)
	out := object{"baseUrl": l.URL, "hashAlgorithm": "SHA2_256", "publicKey": key}
	if l.ID != nil {
		out["logId"] = object{"keyId": encode64(l.ID)}
	}
	return out
}

func (c RootCA) object() object {
	out := object{
		"subject": object{"organization": "podseal test", "commonName": "sigstoretest"},
		"uri":     c.URI, "certChain": object{"certificates": rawCertificates(c.Chain)},
	}
	c.Valid.addTo(out)
	return out
}

func (p Period) addTo(o object) {
	valid := object{}
	if !p.Start.IsZero() {
		valid["start"] = p.Start.UTC().Format(time.RFC3339)
	}
	if !p.End.IsZero() {
		valid["end"] = p.End.UTC().Format(time.RFC3339)
	}
	if len(valid) > 0 {
		o["validFor"] = valid
	}
}

func rawCertificates(chain [][]byte) []object {
	return objects(chain, func(c []byte) object { return object{"rawBytes": encode64(c)} })
}

func objects[T any](values []T, convert func(T) object) []object {
	out := make([]object, 0, len(values))
	for _, v := range values {
		out = append(out, convert(v))
	}
	return out
}
