package setup_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/podseal/podseal/pkg/evidence"
	"github.com/podseal/podseal/pkg/kubelet/kubelettest"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/sigstore/sigstoretest"
)

// signed is an image that the key has signed.
func (w *trusted) signed(name string) sigstoretest.Pushed {
	app := w.registry.PushImage(name, sigstoretest.Image{Content: name})
	w.registry.Attach(app.Ref, sigstoretest.Usual, sigstoretest.Sign(sigstoretest.Signature{Signer: w.key, Digest: app.Ref.Digest, Format: evidence.Bundle, Witnesses: []sigstoretest.Witness{w.Rekor1}}))
	return app
}

// runs is a pod of the same name that runs the image.
func runs(name string, app sigstoretest.Pushed) kubelettest.Pod {
	return kubelettest.Pod{Namespace: "ns", Name: name, UID: kubelettest.UID(name), ServiceAccount: "sa",
		Containers: []kubelettest.Container{{Name: "c", ID: kubelettest.ID(name), Image: app.Ref.String(), ImageID: app.Ref.String()}}}
}

// call verifies the image of a pod of the node, as for its first caller.
func call(t *testing.T, parts *setup.Parts, name string) error {
	t.Helper()
	index, err := parts.Attestor.Pods.Next(t.Context(), kubelettest.UID(name), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := index.ByUID(kubelettest.UID(name))
	if err != nil || p == nil {
		t.Fatalf("%s: %v, %v", name, p, err)
	}
	_, err = parts.Attestor.Images.Container(t.Context(), p, &p.Containers[0])
	return err
}

// ahead is a log that knows which pods' images were looked at ahead.
type ahead struct {
	slog.Handler
	pods chan string
}

func newAhead() *ahead {
	return &ahead{slog.DiscardHandler, make(chan string, 100)}
}

func (*ahead) Enabled(context.Context, slog.Level) bool { return true }

func (a *ahead) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "an image was looked at ahead of its first call" {
		r.Attrs(func(attr slog.Attr) bool {
			if attr.Key == "pod_uid" {
				a.pods <- attr.Value.String()
			}
			return true
		})
	}
	return nil
}

// want waits until images of these pods were looked at, in any order.
func (a *ahead) want(t *testing.T, names ...string) {
	t.Helper()
	var want, got []string
	for _, name := range names {
		want = append(want, kubelettest.UID(name))
		select {
		case uid := <-a.pods:
			got = append(got, uid)
		case <-time.After(time.Minute):
			t.Fatalf("no more than %d of %d pods were looked at", len(got), len(names))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("looked at %q, want %q", got, want)
	}
}

func TestTheFirstCallerOfAnImageWaitsForNoRegistry(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w, looked := newTrusted(t), newAhead()
	first, second := w.signed("first"), w.signed("second")
	for name, app := range map[string]sigstoretest.Pushed{"first": first, "second": second, "again": second} {
		if err := port.AddPod(runs(name, app).Build()); err != nil {
			t.Fatal(err)
		}
	}
	parts := build(t, setup.NewProcess(slog.New(looked)), parse(t, port, files, w.text()), nil)
	// Somebody asks about a pod of his own; of the others he learns nothing.
	if knows(t, parts, "nobody") {
		t.Error("there is a pod that is not there")
	}
	looked.want(t, "first", "second") // of pods with the same image the last one listed
	if n := len(w.registry.Requests()); n == 0 {
		t.Error("no registry was asked")
	}
	w.registry.Forget()
	asked := port.Stats().Requests
	for _, name := range []string{"first", "second", "again"} {
		if err := call(t, parts, name); err != nil {
			t.Error(err)
		}
	}
	if n := len(w.registry.Requests()); n > 0 {
		t.Errorf("%d requests to the registry for what was known ahead", n)
	}
	if asked != 1 {
		t.Errorf("%d requests to the kubelet before that, want the caller's", asked)
	}
}

func TestThePodsAPISaysWhatToLookAtAhead(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	api, socket := podsAPI(t)
	w, looked := newTrusted(t), newAhead()
	app := w.signed("app")
	text := w.text() + fmt.Sprintf("\npod_source = \"pods_api\"\npods_api_socket = %q\n", socket)
	parts := build(t, setup.NewProcess(slog.New(looked)), parse(t, port, files, text), nil)
	if !knows(t, parts, "u") { // the watch begins with the first caller
		t.Fatal("it does not know the pod that there is")
	}
	for api.Stats().Watching == 0 {
		time.Sleep(time.Millisecond)
	}
	api.AddPod(runs("app", app).Build())
	looked.want(t, "app")
	w.registry.Forget()
	asked := api.Stats()
	relabelled := runs("app", app)
	relabelled.Labels = map[string]string{"changed": "1"}
	api.AddPod(relabelled.Build())
	api.AddPod(runs("later", w.signed("later")).Build())
	looked.want(t, "later")
	if now := api.Stats(); now.GetPod == asked.GetPod || now.WatchPods != 1 {
		t.Errorf("the kubelet was asked %+v, then %+v", asked, now)
	}
}

// The parts that are served look ahead, and no others.
func TestAReconfigurationLooksAheadByItsOwnRules(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w, looked := newTrusted(t), newAhead()
	process := setup.NewProcess(slog.New(looked))
	none := build(t, process, parse(t, port, files, ""), nil)
	if err := port.AddPod(runs("old", w.signed("old")).Build()); err != nil {
		t.Fatal(err)
	}
	knows(t, none, "")
	first := build(t, process, parse(t, port, files, w.text()), none)
	if first.Attestor.Pods == none.Attestor.Pods {
		t.Error("a source that told nobody is used where somebody wants to know")
	}
	none.CloseUnlessIn(first)
	knows(t, first, "")
	looked.want(t, "old")

	second := build(t, process, parse(t, port, files, w.text()+"\ndisable_container_selectors = true\n"), first)
	if second.Attestor.Pods != first.Attestor.Pods {
		t.Error("the source was not carried over")
	}
	first.CloseUnlessIn(second)
	if err := port.AddPod(runs("new", w.signed("new")).Build()); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Attestor.Pods.Next(t.Context(), "", time.Now()); err != nil {
		t.Fatal(err)
	}
	looked.want(t, "new")
	w.registry.Forget()
	if err := call(t, second, "new"); err != nil || len(w.registry.Requests()) > 0 {
		t.Errorf("%v, %d requests to the registry", err, len(w.registry.Requests()))
	}
}

// A command beside the plugin asks about one thing.
func TestBesideThePluginNothingIsLookedAtAhead(t *testing.T) {
	t.Parallel()
	port, files := node(t)
	w, looked := newTrusted(t), newAhead()
	if err := port.AddPod(runs("app", w.signed("app")).Build()); err != nil {
		t.Fatal(err)
	}
	process := setup.NewProcess(slog.New(looked))
	process.Beside = true
	parts := build(t, process, parse(t, port, files, w.text()), nil)
	if !knows(t, parts, kubelettest.UID("app")) {
		t.Error("the pod is not known")
	}
	if process.Ahead() {
		t.Error("something would be looked at ahead")
	}
}
