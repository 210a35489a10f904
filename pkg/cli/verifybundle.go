package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/podseal/podseal/pkg/image"
	"github.com/podseal/podseal/pkg/sigstore"
)

// bundleOptions are the options of the protocol with which the conformance suite
// of Sigstore's clients drives a client.
type bundleOptions struct {
	staging                        bool
	bundle, identity, issuer, root string
	key                            string
}

// verifyBundleCommand is for the conformance suite, and for nobody else: it judges
// files, and images with the same code.
func (c *command) verifyBundleCommand() *cobra.Command {
	var o bundleOptions
	cmd := &cobra.Command{
		Use:    "verify-bundle --bundle FILE (--certificate-identity IDENTITY --certificate-oidc-issuer URL | --key FILE) FILE_OR_DIGEST",
		Short:  "Verify a Sigstore bundle of a file, for the conformance suite",
		Hidden: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s: one file or digest is needed", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if o.root == "" && !o.staging {
				c.note("judged by the public-good trust root of %s that is built in: --trusted-root names a newer one", sigstore.PublicGoodDate.Format(time.DateOnly))
			}
			return verifyBundle(o, args[0], time.Now())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.staging, "staging", false, "the bundle is of Sigstore's staging instance; needs --trusted-root")
	flags.StringVar(&o.bundle, "bundle", "", "file of the bundle")
	flags.StringVar(&o.identity, "certificate-identity", "", "subject alternative name of the signer's certificate")
	flags.StringVar(&o.issuer, "certificate-oidc-issuer", "", "OpenID Connect issuer of the signer")
	flags.StringVar(&o.key, "key", "", "file of the signer's public key, PEM")
	flags.StringVar(&o.root, "trusted-root", "", "file of the trust root (default: the public good instance's)")
	return cmd
}

// verifyBundle returns why the bundle is refused, or nil.
func verifyBundle(o bundleOptions, artifact string, now time.Time) error {
	authority, err := o.authority()
	if err != nil {
		return err
	}
	root, err := o.trustRoot()
	if err != nil {
		return err
	}
	bundle, err := readBounded(o.bundle, 8<<20)
	if err != nil {
		return err
	}
	blob, err := readBlob(artifact)
	if err != nil {
		return err
	}
	return authority.VerifyBlob(root, bundle, blob, now)
}

func (o bundleOptions) authority() (*sigstore.Authority, error) {
	switch {
	case o.key != "" && o.identity+o.issuer == "":
		pem, err := readBounded(o.key, 1<<20)
		if err != nil {
			return nil, err
		}
		return sigstore.NewKeys(sigstore.KeysConfig{PEM: [][]byte{pem}, RequireLog: true})
	case o.key == "" && o.identity != "" && o.issuer != "":
		return sigstore.NewKeyless(sigstore.KeylessConfig{Identities: []sigstore.Identity{{
			Issuer: sigstore.Exact(o.issuer), Subject: sigstore.Exact(o.identity),
		}}})
	}
	return nil, usagef("verify-bundle: --certificate-identity with --certificate-oidc-issuer, or --key")
}

func (o bundleOptions) trustRoot() (*sigstore.Root, error) {
	switch {
	case o.root != "":
		data, err := readBounded(o.root, 1<<20)
		if err != nil {
			return nil, err
		}
		return sigstore.ParseRoot(data)
	case o.staging:
		return nil, errors.New("the trust root of the staging instance is not known here: give it with --trusted-root")
	}
	return sigstore.PublicGood(), nil
}

// readBlob reads a file or, where there is no such file, takes the name for a
// digest if it is one.
func readBlob(artifact string) (sigstore.Blob, error) {
	if digest, err := image.ParseDigest(artifact); err == nil {
		if _, err := os.Lstat(artifact); errors.Is(err, os.ErrNotExist) {
			return sigstore.Blob{Digest: digest}, nil
		}
	}
	content, err := readBounded(artifact, 256<<20)
	return sigstore.Blob{Content: content}, err
}

// readBounded reads a file of at most that many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the file that the command line names
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is longer than %d bytes", path, most)
	}
	return data, err
}
