package registry

import (
	"fmt"
	"net/netip"
	"syscall"
)

// addressError is an address that nobody has to be sent to by a stranger.
type addressError struct{ address string }

func (e *addressError) Error() string {
	return fmt.Sprintf("the address %s is not a public one, and only a registry that has a block in the configuration may have such", e.address)
}

// special are the addresses inside the space for everybody that lead elsewhere
// than to a host on the Internet (the IANA's registries of special-purpose
// addresses). Of IPv6 only 2000::/3 is looked at, which leaves out loopback,
// link-local, private (fc00::/7), mapped (::ffff:0:0/96) and NAT64 (64:ff9b::/96,
// 64:ff9b:1::/48) addresses and multicast.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network; 0.0.0.0 is loopback on Linux
	netip.MustParsePrefix("10.0.0.0/8"),      // private
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT, and metadata services
	netip.MustParsePrefix("127.0.0.0/8"),     // loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // link-local, and metadata services
	netip.MustParsePrefix("172.16.0.0/12"),   // private
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("192.168.0.0/16"),  // private
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("224.0.0.0/3"),     // multicast, reserved, broadcast
	netip.MustParsePrefix("2001::/23"),       // protocol assignments: Teredo, ORCHID
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("2002::/16"),       // 6to4: any IPv4 address inside
	netip.MustParsePrefix("3fff::/20"),       // documentation
}

var globalUnicast = netip.MustParsePrefix("2000::/3")

// public is whether strangers may send us to an address.
func public(a netip.Addr) bool {
	if a.Zone() != "" || a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}

// gate returns a function for net.Dialer.Control that lets connections through to
// addresses that may be connected to. It sees what names were resolved to, for each
// connection, so that a name can't mean one host when it is looked at and another
// one when it is dialled.
func gate(may func(netip.Addr) bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !may(a.Addr()) {
			return &addressError{address}
		}
		return nil
	}
}
