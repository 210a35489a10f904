package spirestack

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// Registered is an entry as the server has it.
type Registered struct {
	// EntryID is the server's name for it.
	EntryID string
	// SPIFFEID and ParentID are whole IDs, Selectors are "k8s:ns:pay", sorted.
	SPIFFEID, ParentID string
	Selectors          []string
}

// Entries are all that the server has, sorted by SPIFFE ID and selectors.
func (s *Server) Entries(ctx context.Context) ([]Registered, error) {
	out, err := s.command(ctx, "entry", "show", "-output", "json")
	if err != nil {
		return nil, err
	}
	type id struct {
		TrustDomain string `json:"trust_domain"`
		Path        string
	}
	var list struct {
		Entries []struct {
			ID        string
			SPIFFEID  id `json:"spiffe_id"`
			ParentID  id `json:"parent_id"`
			Selectors []struct{ Type, Value string }
		}
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("spire-server entry show: %w", err)
	}
	var all []Registered
	for _, e := range list.Entries {
		r := Registered{
			EntryID:  e.ID,
			SPIFFEID: "spiffe://" + e.SPIFFEID.TrustDomain + e.SPIFFEID.Path,
			ParentID: "spiffe://" + e.ParentID.TrustDomain + e.ParentID.Path,
		}
		for _, selector := range e.Selectors {
			r.Selectors = append(r.Selectors, selector.Type+":"+selector.Value)
		}
		slices.Sort(r.Selectors)
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Registered) int {
		return cmp.Or(cmp.Compare(a.SPIFFEID, b.SPIFFEID), slices.Compare(a.Selectors, b.Selectors))
	})
	return all, nil
}

// DeleteEntry takes an entry away; see Registered.EntryID.
func (s *Server) DeleteEntry(ctx context.Context, entryID string) error {
	_, err := s.command(ctx, "entry", "delete", "-entryID", entryID)
	return err
}
