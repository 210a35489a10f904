// Package ejbca stands where the EJBCA client library would be in the
// spire-server that the tests build. SPIRE imports it for one upstream authority,
// which the tests don't use, and not every module proxy serves its code. It has
// the names that SPIRE compiles against; whoever configures that upstream
// authority is told that it is left out.
package ejbca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// ErrLeftOut is the answer to every attempt to use EJBCA.
var ErrLeftOut = errors.New("this test build of spire-server has no EJBCA client")

// Authenticator is never implemented.
type Authenticator interface{ leftOut() }

// MTLSAuthenticatorBuilder takes settings and builds nothing.
type MTLSAuthenticatorBuilder struct{}

// NewMTLSAuthenticatorBuilder begins an authenticator that Build refuses.
func NewMTLSAuthenticatorBuilder() *MTLSAuthenticatorBuilder { return new(MTLSAuthenticatorBuilder) }

// WithClientCertificate ignores its argument.
func (b *MTLSAuthenticatorBuilder) WithClientCertificate(*tls.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

// WithCaCertificates ignores its argument.
func (b *MTLSAuthenticatorBuilder) WithCaCertificates([]*x509.Certificate) *MTLSAuthenticatorBuilder {
	return b
}

// Build returns ErrLeftOut.
func (b *MTLSAuthenticatorBuilder) Build() (Authenticator, error) { return nil, ErrLeftOut }

// Configuration is what NewAPIClient refuses.
type Configuration struct{ Host string }

// NewConfiguration returns an empty configuration.
func NewConfiguration() *Configuration { return new(Configuration) }

// SetAuthenticator ignores its argument.
func (c *Configuration) SetAuthenticator(Authenticator) {}

// APIClient can't be made.
type APIClient struct{ V1CertificateApi *V1CertificateApi }

// NewAPIClient returns ErrLeftOut.
func NewAPIClient(*Configuration) (*APIClient, error) { return nil, ErrLeftOut }

// V1CertificateApi answers every request with ErrLeftOut.
type V1CertificateApi struct{}

// EnrollPkcs10Certificate begins a request that Execute refuses.
func (a *V1CertificateApi) EnrollPkcs10Certificate(context.Context) ApiEnrollPkcs10CertificateRequest {
	return ApiEnrollPkcs10CertificateRequest{}
}

// ApiEnrollPkcs10CertificateRequest is a request that is never sent.
type ApiEnrollPkcs10CertificateRequest struct{}

// EnrollCertificateRestRequest ignores its argument.
func (r ApiEnrollPkcs10CertificateRequest) EnrollCertificateRestRequest(EnrollCertificateRestRequest) ApiEnrollPkcs10CertificateRequest {
	return r
}

// Execute returns ErrLeftOut.
func (r ApiEnrollPkcs10CertificateRequest) Execute() (*CertificateRestResponse, *http.Response, error) {
	return nil, nil, ErrLeftOut
}

// EnrollCertificateRestRequest takes settings and forgets them.
type EnrollCertificateRestRequest struct{}

// NewEnrollCertificateRestRequest returns an empty request.
func NewEnrollCertificateRestRequest() *EnrollCertificateRestRequest {
	return new(EnrollCertificateRestRequest)
}

// SetUsername ignores its argument.
func (r *EnrollCertificateRestRequest) SetUsername(string) {}

// SetPassword ignores its argument.
func (r *EnrollCertificateRestRequest) SetPassword(string) {}

// SetCertificateRequest ignores its argument.
func (r *EnrollCertificateRestRequest) SetCertificateRequest(string) {}

// SetCertificateAuthorityName ignores its argument.
func (r *EnrollCertificateRestRequest) SetCertificateAuthorityName(string) {}

// SetCertificateProfileName ignores its argument.
func (r *EnrollCertificateRestRequest) SetCertificateProfileName(string) {}

// SetEndEntityProfileName ignores its argument.
func (r *EnrollCertificateRestRequest) SetEndEntityProfileName(string) {}

// SetIncludeChain ignores its argument.
func (r *EnrollCertificateRestRequest) SetIncludeChain(bool) {}

// SetAccountBindingId ignores its argument.
func (r *EnrollCertificateRestRequest) SetAccountBindingId(string) {}

// CertificateRestResponse never arrives.
type CertificateRestResponse struct{ CertificateChain []string }

// GetResponseFormat returns nothing.
func (r *CertificateRestResponse) GetResponseFormat() string { return "" }

// GetCertificate returns nothing.
func (r *CertificateRestResponse) GetCertificate() string { return "" }

// GenericOpenAPIError never arrives.
type GenericOpenAPIError struct{ body []byte }

// Error names the answer.
func (e *GenericOpenAPIError) Error() string { return ErrLeftOut.Error() }

// Body returns nothing.
func (e *GenericOpenAPIError) Body() []byte { return e.body }
