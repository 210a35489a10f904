package trustroot

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The variables by which SPIRE's built-in attestor and cosign let the environment
// change the public-good trust root. Each of the first three takes the place of one
// part of it, and of nothing else.
const (
	VarRootFile  = "SIGSTORE_ROOT_FILE"              // Fulcio: a PEM file of certificates
	VarRekorKey  = "SIGSTORE_REKOR_PUBLIC_KEY"       // the transparency log: a PEM file of a key
	VarCTLogKey  = "SIGSTORE_CT_LOG_PUBLIC_KEY_FILE" // the certificate transparency log: likewise
	VarTUFRoot   = "TUF_ROOT"                        // the directory of `cosign initialize`
	varHome      = "HOME"
	cosignInHome = ".sigstore/root"
)

// Environment is what the environment says of the public-good trust root: paths.
// Empty is absent.
type Environment struct {
	RootFile, RekorKey, CTLogKey, TUFRoot, Home string
}

type (
	authority = *prototrustroot.CertificateAuthority
	logKey    = *prototrustroot.TransparencyLogInstance
)

// overlay is the parts of a trust root that the environment has files for.
type overlay struct {
	fulcio       *watched[[]authority]
	rekor, ctlog *watched[logKey]
}

func newOverlay(e Environment) *overlay {
	o := &overlay{}
	if e.RootFile != "" {
		o.fulcio = &watched[[]authority]{path: e.RootFile, parse: parseAuthorities}
	}
	if e.RekorKey != "" {
		o.rekor = &watched[logKey]{path: e.RekorKey, parse: parseLogKey}
	}
	if e.CTLogKey != "" {
		o.ctlog = &watched[logKey]{path: e.CTLogKey, parse: parseLogKey}
	}
	return o
}

// variables are those that are set, in the order of their declaration.
func (o *overlay) variables() (names []string) {
	if o.fulcio != nil {
		names = append(names, VarRootFile)
	}
	if o.rekor != nil {
		names = append(names, VarRekorKey)
	}
	if o.ctlog != nil {
		names = append(names, VarCTLogKey)
	}
	return names
}

// complete is whether nothing else is needed.
func (o *overlay) complete() bool { return o.fulcio != nil && o.rekor != nil && o.ctlog != nil }

// look reads the files again that have changed.
func (o *overlay) look() error {
	var problems []error
	if o.fulcio != nil {
		problems = append(problems, o.fulcio.look())
	}
	if o.rekor != nil {
		problems = append(problems, o.rekor.look())
	}
	if o.ctlog != nil {
		problems = append(problems, o.ctlog.look())
	}
	return join(problems...)
}

// modified is when the first of the files was written.
func (o *overlay) modified() (first time.Time) {
	earlier := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	if o.fulcio != nil {
		earlier(o.fulcio.modified)
	}
	if o.rekor != nil {
		earlier(o.rekor.modified)
	}
	if o.ctlog != nil {
		earlier(o.ctlog.modified)
	}
	return first
}

// over puts the parts into base, a trusted_root.json, in place of its own; base is
// not needed if o is complete.
func (o *overlay) over(base []byte) ([]byte, error) {
	root := &prototrustroot.TrustedRoot{MediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}
	if base != nil {
		if err := protojson.Unmarshal(base, root); err != nil {
			return nil, err
		}
	}
	if o.fulcio != nil {
		root.CertificateAuthorities = o.fulcio.value
	}
	if o.rekor != nil {
		root.Tlogs = []logKey{o.rekor.value}
	}
	if o.ctlog != nil {
		root.Ctlogs = []logKey{o.ctlog.value}
	}
	text, err := protojson.Marshal(root)
	if err != nil {
		return nil, err
	}
	// protojson puts spaces where it likes, and the text's digest is what verdicts
	// depend on.
	var out bytes.Buffer
	err = json.Compact(&out, text)
	return out.Bytes(), err
}

// maxChain bounds the certificates of SIGSTORE_ROOT_FILE.
const maxChain = 64

// parseAuthorities reads certificates as cosign does: who signed himself is a root,
// the others are on the way to one.
func parseAuthorities(text []byte) ([]authority, error) {
	var roots, others []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block of type %q and not CERTIFICATE is in it", clip(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			roots = append(roots, c)
		} else {
			others = append(others, c)
		}
		if len(roots)+len(others) > maxChain {
			return nil, fail(Limit, "more than %d certificates", maxChain)
		}
	}
	if rest := bytes.TrimSpace(text); len(rest) != 0 {
		return nil, errors.New("what follows the last PEM block is none")
	}
	if len(roots) == 0 {
		return nil, errors.New("no certificate that signed itself is in it")
	}
	var found []authority
	for _, root := range roots {
		chain := &protocommon.X509CertificateChain{}
		for _, c := range below(root, others) {
			chain.Certificates = append(chain.Certificates, &protocommon.X509Certificate{RawBytes: c.Raw})
		}
		chain.Certificates = append(chain.Certificates, &protocommon.X509Certificate{RawBytes: root.Raw})
		found = append(found, &prototrustroot.CertificateAuthority{CertChain: chain})
	}
	return found, nil
}

// below are those of others that lead to root. Whether their signatures hold is seen
// when a chain is verified.
func below(root *x509.Certificate, others []*x509.Certificate) (found []*x509.Certificate) {
	issuers := [][]byte{root.RawSubject}
	taken := map[*x509.Certificate]bool{}
	for i := 0; i < len(issuers); i++ {
		for _, c := range others {
			if !taken[c] && bytes.Equal(c.RawIssuer, issuers[i]) {
				taken[c] = true
				found = append(found, c)
				issuers = append(issuers, c.RawSubject)
			}
		}
	}
	return found
}

// parseLogKey reads the public key of a log. Its ID is the key's digest (RFC 6962);
// a file says nothing of when the key was in use, so it always was, as for cosign.
func parseLogKey(text []byte) (logKey, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block is in it")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("more than one PEM block is in it") // cosign takes the first and is silent
	}
	key, err := parsePublicKey(block)
	if err != nil {
		return nil, err
	}
	details, err := keyDetails(key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(der)
	return &prototrustroot.TransparencyLogInstance{
		HashAlgorithm: protocommon.HashAlgorithm_SHA2_256,
		LogId:         &protocommon.LogId{KeyId: id[:]},
		PublicKey: &protocommon.PublicKey{
			RawBytes: der, KeyDetails: details,
			ValidFor: &protocommon.TimeRange{Start: timestamppb.New(time.Unix(0, 0))},
		},
	}, nil
}

func parsePublicKey(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	}
	return nil, fmt.Errorf("its PEM block is of type %q and not PUBLIC KEY", clip(block.Type))
}

func keyDetails(key crypto.PublicKey) (protocommon.PublicKeyDetails, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256, nil
		case elliptic.P384():
			return protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384, nil
		case elliptic.P521():
			return protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512, nil
		}
	case *rsa.PublicKey:
		switch k.Size() {
		case 256:
			return protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256, nil
		case 384:
			return protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256, nil
		case 512:
			return protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256, nil
		}
	case ed25519.PublicKey:
		return protocommon.PublicKeyDetails_PKIX_ED25519, nil
	}
	return 0, fmt.Errorf("a key that no log has: %T", key)
}
