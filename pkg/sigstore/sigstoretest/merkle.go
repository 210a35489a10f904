package sigstoretest

import (
	"crypto/sha256"
	"math/bits"
)

// The tree of RFC 6962, 2.1, over hashes of leaves.

func leafHash(body []byte) []byte {
	sum := sha256.Sum256(append([]byte{0}, body...))
	return sum[:]
}

func treeHash(leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := split(len(leaves))
	sum := sha256.Sum256(append(append([]byte{1}, treeHash(leaves[:k])...), treeHash(leaves[k:])...))
	return sum[:]
}

// auditPath is the proof that a leaf is in the tree: the nearest sibling first.
func auditPath(index int, leaves [][]byte) [][]byte {
	if len(leaves) == 1 {
		return [][]byte{}
	}
	k := split(len(leaves))
	if index < k {
		return append(auditPath(index, leaves[:k]), treeHash(leaves[k:]))
	}
	return append(auditPath(index-k, leaves[k:]), treeHash(leaves[:k]))
}

// split is the greatest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) } // #nosec G115 -- n is at least 2
