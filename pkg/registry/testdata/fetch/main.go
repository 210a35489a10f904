// Command fetch looks for the evidence about images and prints what it found and
// how much memory that has taken, for a test that must not count its own.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/podseal/podseal/pkg/fair"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/registry"
)

func main() {
	log.SetFlags(0)
	var cfg registry.Config
	if err := json.Unmarshal([]byte(os.Args[1]), &cfg); err != nil {
		log.Fatal(err)
	}
	client, err := registry.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range os.Args[2:] {
		ref, err := image.ParseRef(name)
		if err != nil {
			log.Fatal(err)
		}
		found, err := evidence(client, ref)
		if err != nil {
			fmt.Printf("%s: error %q; %s\n", ref.Repository.Path(), err, peak())
			continue
		}
		good, bytes := false, 0
		for _, i := range found.Items {
			good = good || string(i.Content) == "good"
			bytes += len(i.Content)
		}
		first := ""
		if len(found.Problems) > 0 {
			first = found.Problems[0].Error()
		}
		fmt.Printf("%s: %d items, %d bytes, good %v, %d problems like %q; %s\n", ref.Repository.Path(), len(found.Items), bytes, good, len(found.Problems), first, peak())
	}
	fmt.Println(peak())
}

// evidence asks again where the registry, which makes megabytes for each answer,
// takes too long on a busy machine: it is not time that is looked at here.
func evidence(client *registry.Client, ref image.Ref) (found *registry.Found, err error) {
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		found, err = client.Conversation(fair.Who{Tenant: ref.Repository.Path()}).Evidence(ctx, ref)
		cancel()
		if !unavailable(err) && (found == nil || !slices.ContainsFunc(found.Problems, unavailable)) {
			break
		}
	}
	return found, err
}

func unavailable(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	return ok && e.Kind == registry.Unavailable
}

// peak is the line with the most memory that the process had.
func peak() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}
