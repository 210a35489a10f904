package sigstoretest

import (
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"sync"
	"time"
)

// Log is a transparency log: Rekor v1, which promises to include an entry (SET)
// and proves it with a checkpoint, or Rekor v2, which only proves it and knows no
// time. A log records whatever it is given. It is safe for concurrent use.
type Log struct {
	// URL and Valid are what a trusted root says of it. A Rekor v2's checkpoints
	// bear the URL's host name.
	URL   string
	Valid Period

	version int
	key     crypto.Signer
	id      []byte

	mu sync.Mutex
	// Both are guarded by mu: the hashes of all leaves, and the entries by theirs in
	// hexadecimal.
	leaves  [][]byte
	entries map[string]*LogEntry
}

// LogOptions say what kind of log it is.
type LogOptions struct {
	// Version is Rekor's: 1 (the default) or 2.
	Version int
	// URL has a default for each version.
	URL string
	// Key is of the log's key, ECDSA P-256 by default. A Rekor v1 has no Ed25519 key.
	Key Algorithm
}

// NewLog makes a log, in which are some entries of others.
func NewLog(o LogOptions) *Log {
	l := &Log{version: cmp.Or(o.Version, 1), key: newKey(o.Key), Valid: Always, entries: make(map[string]*LogEntry)}
	l.URL = cmp.Or(o.URL, fmt.Sprintf("https://rekor%d.example.org", l.version))
	l.id = keyID(l.key.Public())
	if key, ok := l.key.Public().(ed25519.PublicKey); ok && l.version == 2 {
		sum := sha256.Sum256(append([]byte(l.origin()+"\n\x01"), key...)) // the note's key ID, in full
		l.id = sum[:]
	}
	for i := range 5 {
		l.leaves = append(l.leaves, leafHash(fmt.Appendf(nil, "an entry of somebody else, %d", i)))
	}
	return l
}

// ID is the log's identifier.
func (l *Log) ID() []byte { return l.id }

// Public is the log's key.
func (l *Log) Public() crypto.PublicKey { return l.key.Public() }

// LogEntry is a log's answer, in the words of protobuf-specs' TransparencyLogEntry.
type LogEntry struct {
	// LogIndex is the entry's number. In Rekor v1 it counts the entries of all of
	// the log's trees and Proof.LogIndex those of this one.
	LogIndex             int64
	LogID                []byte
	Kind, Version        string
	IntegratedTime       int64 // seconds; 0 in Rekor v2
	SignedEntryTimestamp []byte
	Proof                *Proof
	Body                 []byte
}

// Proof is an inclusion proof with its checkpoint.
type Proof struct {
	LogIndex, TreeSize int64
	RootHash           []byte
	Hashes             [][]byte
	Checkpoint         string
}

// earlierTrees is how many entries a Rekor v1 had before its present tree.
const earlierTrees = 4_163_431

// Add records an entry.
func (l *Log) Add(e Entry) *LogEntry {
	body := e.body()
	l.mu.Lock()
	defer l.mu.Unlock()
	index := len(l.leaves)
	l.leaves = append(l.leaves, leafHash(body))
	root := treeHash(l.leaves)
	out := &LogEntry{
		LogIndex: int64(index), LogID: l.id, Kind: e.Kind, Version: e.Version, Body: body,
		Proof: &Proof{
			LogIndex: int64(index), TreeSize: int64(len(l.leaves)), RootHash: root,
			Hashes: auditPath(index, l.leaves), Checkpoint: l.Checkpoint(int64(len(l.leaves)), root),
		},
	}
	if l.version == 1 {
		out.LogIndex += earlierTrees
		out.IntegratedTime = e.Time.Unix()
		out.SignedEntryTimestamp = l.Promise(out)
	}
	l.entries[hex.EncodeToString(l.leaves[index])] = out
	return out
}

// find is the entry with that hash of its leaf, in hexadecimal.
func (l *Log) find(uuid string) (*LogEntry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[uuid]
	return e, ok
}

// Promise is a Rekor v1's signature (SET) over what an entry says now.
func (l *Log) Promise(e *LogEntry) []byte {
	// In the order of RFC 8785.
	return sign(l.key, must(json.Marshal(struct {
		Body           string `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogID          string `json:"logID"`
		LogIndex       int64  `json:"logIndex"`
	}{encode64(e.Body), e.IntegratedTime, hex.EncodeToString(e.LogID), e.LogIndex})), crypto.SHA256)
}

// Checkpoint is what the log signs about a tree of that size with that root: a
// signed note.
func (l *Log) Checkpoint(size int64, root []byte) string {
	origin := l.origin()
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, size, encode64(root))
	if l.version == 1 {
		text = fmt.Sprintf("%s - 2605736670972794746\n%d\n%s\n", origin, size, encode64(root))
	}
	signature := append(l.id[:4:4], sign(l.key, []byte(text), hashFor(l.key.Public()))...)
	return text + "\n\u2014 " + origin + " " + encode64(signature) + "\n"
}

func (l *Log) origin() string { return must(url.Parse(l.URL)).Hostname() }

// witness records a signature in the log.
func (l *Log) witness(s *signing) {
	e := s.entry(l.version)
	if s.Entry != nil {
		s.Entry(&e)
	}
	s.parts.Entries = append(s.parts.Entries, l.Add(e))
}

// Entry is what a log is told.
type Entry struct {
	// Kind and Version are the entry's type: hashedrekord 0.0.1, dsse 0.0.1 or
	// intoto 0.0.2 for Rekor v1, hashedrekord 0.0.2 or dsse 0.0.2 for Rekor v2.
	Kind, Version string
	// Time is when a Rekor v1 says that it got the entry.
	Time time.Time
	// Message is what was signed (an envelope's PAE), which a hashedrekord names by
	// its Hash; Digest is in its place where it is set.
	Message []byte
	Hash    crypto.Hash
	Digest  []byte
	// Payload and PayloadType are the envelope's; dsse and intoto name the payload
	// by its SHA-256.
	Payload     []byte
	PayloadType string
	Signature   []byte
	// Certificate is the signer's, in DER; without it Public is the signer's key.
	Certificate []byte
	Public      crypto.PublicKey
	// Body is the entry's body in place of what the fields above make.
	Body []byte
}
