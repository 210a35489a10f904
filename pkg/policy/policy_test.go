package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/podseal/podseal/pkg/policy"
)

func TestOneAuthorityThatAcceptsIsEnough(t *testing.T) {
	t.Parallel()
	const a, r, u = policy.Accepted, policy.Refused, policy.Unknown
	for _, test := range []struct {
		results []policy.Result
		want    policy.Result
	}{
		{nil, r},
		{[]policy.Result{""}, r},
		{[]policy.Result{r, r}, r},
		{[]policy.Result{r, u, r}, u},
		{[]policy.Result{u, "", a}, a},
		{[]policy.Result{a, a}, a},
		{[]policy.Result{"Accepted"}, r},
	} {
		if got := policy.Sum(test.results...); got != test.want {
			t.Errorf("Sum(%q) = %q, want %q", test.results, got, test.want)
		}
	}
}

func TestAStaticAuthorityLooksAtNoEvidence(t *testing.T) {
	t.Parallel()
	for _, evidence := range []policy.Result{"", policy.Accepted, policy.Refused, policy.Unknown} {
		for static, want := range map[policy.Static]policy.Result{policy.NotStatic: evidence, policy.Allow: policy.Accepted, policy.Deny: policy.Refused, "alow": policy.Refused} {
			if got := (policy.Authority{Name: "a", Static: static}).Judged(evidence); got != want {
				t.Errorf("static %q with evidence %q is %q, want %q", static, evidence, got, want)
			}
		}
	}
}

func TestASetRefusesWhatCouldNotMeanAnything(t *testing.T) {
	t.Parallel()
	authority := []policy.Authority{{Name: "a"}}
	for want, policies := range map[string][]*policy.Policy{
		`image_policy "p": there are two of that name`:                                  {{Name: "p", Mode: policy.Fail, Authorities: authority}, {Name: "p", Mode: policy.Fail, Authorities: authority}},
		`image_policy "": it has no name`:                                               {{Mode: policy.Fail, Authorities: authority}},
		`image_policy "p": mode "" is not one of [fail, withhold, audit]`:               {{Name: "p", Authorities: authority}},
		`image_policy "p": mode "warn" is not one of [fail, withhold, audit]`:           {{Name: "p", Mode: "warn", Authorities: authority}},
		`image_policy "p": on_unavailable "pass" is not one of [fail, withhold, stale]`: {{Name: "p", Mode: policy.Fail, OnUnavailable: "pass", Authorities: authority}},
		`image_policy "p": it has no authority, so that nothing could satisfy it`:       {{Name: "p", Mode: policy.Fail}},
		`image_policy "p": an authority has no name`:                                    {{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{}}}},
		`image_policy "p": authority "a": there are two of that name`:                   {{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a"}, {Name: "a", Static: policy.Allow}}}},
		`image_policy "p": authority "a": static "alow" is not one of [allow, deny]`:    {{Name: "p", Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a", Static: "alow"}}}},
	} {
		if _, err := policy.NewSet(policies...); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestWhichPoliciesApplyIsSortedAndSaysWhomTheyConcern(t *testing.T) {
	t.Parallel()
	named := func(name string, namespaces, accounts, images []string) *policy.Policy {
		m, err := policy.NewMatch(namespaces, accounts, images)
		if err != nil {
			t.Fatal(err)
		}
		return &policy.Policy{Name: name, Match: m, Mode: policy.Fail, Authorities: []policy.Authority{{Name: "a"}}}
	}
	set, err := policy.NewSet(
		named("z", nil, nil, nil),
		named("pay", []string{"pay-*"}, nil, nil),
		named("api", nil, []string{"pay-eu/api"}, nil),
		named("images", nil, nil, []string{"registry.example.org/pay/**"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		namespace, account string
		names              policy.Names
		want               string
	}{
		{"pay-eu", "api", names(t, "registry.example.org/pay/api"), "api images pay z"},
		{"pay-eu", "web", names(t, "docker.io/library/nginx"), "pay z"},
		{"shop", "api", names(t, "docker.io/library/nginx"), "z"},
		{"shop", "api", names(t, "docker.io/library/nginx", "registry.example.org/pay/x/y"), "images z"},
		{"shop", "api", policy.Names{Unreadable: true, Repositories: names(t, "docker.io/library/nginx").Repositories}, "images z"},
		{"shop", "api", policy.Names{}, "images z"},
	} {
		var got []string
		for _, p := range set.Applying(policy.Workload{Namespace: test.namespace, ServiceAccount: test.account, Names: test.names}) {
			got = append(got, p.Name)
		}
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s/%s %v (-want +got):\n%s", test.namespace, test.account, test.names, diff)
		}
		if !set.Concerns(test.namespace, test.account) {
			t.Errorf("%s/%s concerns nobody", test.namespace, test.account)
		}
	}
	var none policy.Set
	if none.Concerns("shop", "api") || none.Applying(policy.Workload{}) != nil {
		t.Error("a set without policies applies to something")
	}
	only, err := policy.NewSet(named("pay", []string{"pay-*"}, nil, []string{"**"}))
	if err != nil {
		t.Fatal(err)
	}
	if only.Concerns("shop", "api") || !only.Concerns("pay-", "") {
		t.Error("Concerns does not go by the namespace")
	}
}

// What follows is never milder than what is configured for it; ADVERSARIAL.md, row 38.
func TestWhatFollowsFromAPolicyThatDoesNotHold(t *testing.T) {
	t.Parallel()
	const fail, withhold, audit = policy.Fail, policy.Withhold, policy.Audit
	for _, test := range []struct {
		mode                 policy.Mode
		on                   policy.OnUnavailable
		refused, unavailable policy.Mode
	}{
		{fail, "", fail, fail},
		{fail, policy.FailUnavailable, fail, fail},
		{fail, policy.WithholdUnavailable, fail, withhold},
		{fail, policy.Stale, fail, fail},
		{withhold, "", withhold, withhold},
		{withhold, policy.WithholdUnavailable, withhold, withhold},
		{audit, "", audit, audit},
		{audit, policy.WithholdUnavailable, audit, audit},
	} {
		p := &policy.Policy{Mode: test.mode, OnUnavailable: test.on}
		if got := p.Consequence(false); got != test.refused {
			t.Errorf("%s, %s: a refusal is %s, want %s", test.mode, test.on, got, test.refused)
		}
		if got := p.Consequence(true); got != test.unavailable {
			t.Errorf("%s, %s: an outage is %s, want %s", test.mode, test.on, got, test.unavailable)
		}
	}
}
