package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/config"
	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/pod"
	"github.com/podseal/podseal/pkg/selector"
	"github.com/podseal/podseal/pkg/setup"
	"github.com/podseal/podseal/pkg/terminal"
	"github.com/podseal/podseal/pkg/verify"
)

// verifyFlags say what `verify` judges, and by what.
type verifyFlags struct {
	policyFile, podFile       string
	namespace, serviceAccount string
	explain                   bool
}

func (c *command) verifyCommand() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify (IMAGE@sha256:DIGEST | --pod FILE)",
		Short: "Judge an image by the policies of the configuration",
		Long: `verify does what the plugin does about the image of a container: it fetches
signatures and attestations from the registry, has the sigstore block and every
image_policy judge them, and shows what each says, the selectors that come of it,
and how old the trust roots and the evidence are that it used. It asks the registries
and the mirrors of trust roots that the configuration has; of the node it only reads
what the plugin keeps of trust roots.

Without --namespace and --pod every image_policy is used, whatever it matches;
with them those that match. With --pod the images of all containers of a pod are
judged: FILE is what kubectl get pod NAME -o json prints, or a manifest in JSON.

The exit code is 0 when every image is verified, 1 when one is not, and 2 when it
could not be told: a registry did not answer, a bound was hit, no policy is about
the image, it is on a list of images that are skipped, or it is named by a tag,
which may mean another image tomorrow.`,
		Example: "  podseal verify registry.example.org/pay/api@sha256:... --namespace pay --explain\n" +
			"  kubectl get pod api-0 -o json | podseal verify --pod - --policy-file policies.conf",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef("verify takes one image, not %d", len(args))
			case len(args) == 0 && f.podFile == "":
				return usagef("verify: an image or --pod FILE is needed")
			case len(args) == 1 && f.podFile != "":
				return usagef("verify: either an image or --pod FILE, not both")
			case f.podFile != "" && (f.namespace != "" || f.serviceAccount != ""):
				return usagef("verify: --namespace and --service-account are the pod's with --pod")
			case f.serviceAccount != "" && f.namespace == "":
				return usagef("verify: --service-account needs --namespace")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.untold(cmd.Context(), c.verify(cmd.Context(), f, args))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.policyFile, "policy-file", "", "judge by the policies of this file with plugin_data, not the configuration's")
	flags.StringVar(&f.podFile, "pod", "", "judge the containers of the pod in this file; - for standard input")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "namespace of the pod, for policies that match namespaces")
	flags.StringVar(&f.serviceAccount, "service-account", "", "service account of the pod, for policies that match it (default: default)")
	flags.BoolVar(&f.explain, "explain", false, "show every place that was asked and every candidate")
	mustMark(cmd.MarkFlagFilename("policy-file", "conf", "hcl", "json"))
	mustMark(cmd.MarkFlagFilename("pod", "json"))
	return cmd
}

// untold gives errors that keep an image from being judged the exit code of that: a
// script must not take a misspelt path for a bad image.
func (c *command) untold(ctx context.Context, err error) error {
	_, usage := errors.AsType[*usageError](err)
	if err == nil || usage || ctx.Err() != nil || errors.Is(err, errReported) || errors.Is(err, errUntold) {
		return err
	}
	fail(c.Stderr, diagnose(err))
	return errUntold
}

func (c *command) verify(ctx context.Context, f verifyFlags, args []string) error {
	cfg, images, err := c.imageRules(f)
	if err != nil {
		return err
	}
	subject, err := c.subject(f, args)
	if err != nil {
		return err
	}
	if f.podFile == "" && f.namespace == "" {
		// The question is about the policies themselves.
		for i := range images.Policies {
			images.Policies[i].Match = config.Match{}
		}
	}
	process := setup.NewProcess(slog.New(slog.DiscardHandler))
	process.Beside = true
	verifier, err := process.Verification(&config.Config{Images: images})
	if err != nil {
		return err
	}
	defer verifier.Close()
	if err := c.settle(ctx, verifier); err != nil {
		return err
	}
	v := &verification{header: kind("Verification"), Images: []verifiedImage{}}
	for i := range subject.Containers {
		container := &subject.Containers[i]
		progress := terminal.StartProgress(c.Stderr, "looking for signatures of "+container.ImageID)
		judged, err := judgeImage(ctx, verifier.Verifier, cfg.selectorType(), subject, container, f.explain)
		progress.Stop()
		if err != nil {
			return err
		}
		v.Images = append(v.Images, judged)
	}
	v.Outcome = v.outcome()
	if c.json() {
		err = writeJSON(c.Stdout.W, v)
	} else {
		err = v.write(c.Stdout)
	}
	if err != nil {
		return err
	}
	return v.conclude()
}

// rooted are parts that have trust roots.
type rooted interface {
	SettleRoots(ctx context.Context) (warnings []string)
}

// settle waits for the trust roots, and says what is doubtful about them.
func (c *command) settle(ctx context.Context, parts rooted) error {
	progress := terminal.StartProgress(c.Stderr, "looking for newer trust roots")
	defer progress.Stop()
	settling, cancel := context.WithTimeout(ctx, setup.SettleTime)
	defer cancel()
	warnings := parts.SettleRoots(settling)
	progress.Stop()
	for _, w := range warnings {
		c.note("%s", w)
	}
	return ctx.Err()
}

// conclude is the exit code.
func (v *verification) conclude() error {
	switch v.Outcome {
	case outcomeVerified:
		return nil
	case outcomeNotVerified:
		return errReported
	}
	return errUntold
}

// imageRules are what the configuration asks of images, or the file of policies in
// its place. Of registries those of both are known, the file's first.
func (c *command) imageRules(f verifyFlags) (*configuration, config.Images, error) {
	cfg, err := c.loadConfig("")
	if err != nil {
		return nil, config.Images{}, err
	}
	if err := cfg.check(); err != nil {
		return nil, config.Images{}, err
	}
	images := cfg.config.Images
	if f.policyFile != "" {
		if images, err = c.policies(f.policyFile, images); err != nil {
			return nil, config.Images{}, err
		}
	}
	if !images.Wanted() {
		return nil, config.Images{}, errNothingAsked
	}
	return cfg, images, nil
}

var errNothingAsked = errors.New("nothing is asked of images: there is neither a sigstore block nor an image_policy in the configuration (--config FILE), and no --policy-file")

func (c *command) policies(path string, known config.Images) (config.Images, error) {
	text, err := c.readConfig(path)
	if err != nil {
		return config.Images{}, err
	}
	result := config.Parse(text, c.Getenv)
	file := &configuration{path: path, config: result.Config, problems: findings(path, result.Problems)}
	if err := file.check(); err != nil {
		return config.Images{}, err
	}
	images := result.Config.Images
	images.AnyRegistry = images.AnyRegistry || known.AnyRegistry
	for _, r := range known.Registries {
		if !images.Names(r.Host) {
			images.Registries = append(images.Registries, r)
		}
	}
	return images, nil
}

// subject is the pod whose containers are judged: that of the file, or one with the
// image alone.
func (c *command) subject(f verifyFlags, args []string) (*pod.Pod, error) {
	if f.podFile != "" {
		text, err := c.readConfig(f.podFile)
		if err != nil {
			return nil, err
		}
		p, err := readPod([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.podFile, err)
		}
		return p, nil
	}
	ref, err := image.ParseRef(args[0])
	if errors.Is(err, image.ErrNotPinned) {
		return nil, fmt.Errorf("%w: say which with @sha256:..., as the imageID in kubectl get pod -o json", err)
	}
	if err != nil {
		return nil, err
	}
	account := f.serviceAccount
	if account == "" {
		account = "default"
	}
	return &pod.Pod{
		Namespace: f.namespace, ServiceAccount: account,
		Containers: []pod.Container{{SpecImage: args[0], Image: args[0], ImageID: ref.String(), ID: noContainerID, HasStatus: true}},
	}, nil
}

// noContainerID stands in selectors for a container that there is not.
const noContainerID = "CONTAINER"

// judgeImage judges one container's image. The error is that of an interruption.
func judgeImage(ctx context.Context, verifier *verify.Verifier, selectorType string, p *pod.Pod, container *pod.Container, explain bool) (verifiedImage, error) {
	result, err := verifier.Container(ctx, p, container)
	refusal, refused := errors.AsType[*verify.Error](err)
	if err != nil && !refused {
		return verifiedImage{}, err
	}
	v := newVerifiedImage(container, result, refusal)
	if err == nil {
		values, err := selector.Images(result.Trust)
		if err != nil {
			return verifiedImage{}, err
		}
		for _, value := range values {
			v.Selectors = append(v.Selectors, selectorType+":"+value)
		}
	}
	if explain {
		v.explain(result)
	}
	return v, nil
}
