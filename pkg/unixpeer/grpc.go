package unixpeer

import (
	"context"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// NewClient makes a gRPC client of a connection whose other end was checked. It
// never makes another connection, which could have another end: when this one is
// lost, every call fails. The connection is closed when there is an error, and
// otherwise left to the caller, as the client is.
func NewClient(conn net.Conn, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	var used atomic.Bool
	client, err := grpc.NewClient("passthrough:///socket", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the peer was checked
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			if used.Swap(true) {
				return nil, net.ErrClosed
			}
			return conn, nil
		}),
		grpc.WithNoProxy(),
		grpc.WithUserAgent("podseal"),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	}, options...)...)
	if err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return client, nil
}
