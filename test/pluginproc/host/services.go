package host

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/spiffe/spire-plugin-sdk/pluginsdk"
	"github.com/spiffe/spire-plugin-sdk/private"
	metricsv1 "github.com/spiffe/spire-plugin-sdk/proto/spire/hostservice/common/metrics/v1"
	"google.golang.org/grpc"
)

// hostServices is what the agent offers to plugins: the metrics service.
type hostServices struct {
	goplugin.NetRPCUnsupportedPlugin
	metricsv1.UnimplementedMetricsServer

	server *grpc.Server
	served chan struct{}
}

func (h *hostServices) metrics() pluginsdk.ServiceServer { return metricsv1.MetricsServiceServer(h) }

// GRPCServer implements goplugin.GRPCPlugin.
func (h *hostServices) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("not implemented on the host's side")
}

// GRPCClient implements goplugin.GRPCPlugin.
func (h *hostServices) GRPCClient(_ context.Context, broker *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	listener, err := broker.Accept(private.HostServiceProviderID)
	if err != nil {
		return nil, err
	}
	h.server, h.served = grpc.NewServer(), make(chan struct{})
	h.metrics().RegisterServer(h.server)
	go func() {
		defer close(h.served)
		_ = h.server.Serve(listener) // until stop
	}()
	return conn, nil
}

func (h *hostServices) stop() {
	if h.server != nil {
		h.server.Stop()
		<-h.served
	}
}
