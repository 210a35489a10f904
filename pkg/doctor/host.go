package doctor

import (
	"context"
	"fmt"

	"github.com/podseal/podseal/pkg/container"
)

const setHostPID = "set hostPID: true in the spec of the agent's pod: without it the ID of a process that calls means nothing here"

func (x *examination) hostPID(ctx context.Context) []Check {
	switch {
	case x.LocatorErr != nil:
		x.blind = because(HostPID)
		return []Check{failed(HostPID, x.LocatorErr.Error(), setHostPID)}
	case x.Locator == nil:
		x.blind = because(Configuration)
		return []Check{skipped(HostPID, x.blind)}
	}
	c := judgeHostPID(x.Locator.HostPID(ctx))
	if c.Status != OK {
		x.blind = because(HostPID)
	}
	return []Check{c}
}

func judgeHostPID(h container.HostPID, err error) Check {
	switch {
	case err != nil:
		return failed(HostPID, "it can't be told whether the processes of the node are visible: "+err.Error(), setHostPID)
	case !h.Visible:
		return failed(HostPID, "the processes of the node can't be seen: "+h.Why(), setHostPID)
	}
	return ok(HostPID, "the processes of the node can be seen: "+h.Why())
}

func (x *examination) cgroups(context.Context) []Check {
	if x.Locator == nil {
		return []Check{skipped(Cgroups, x.blind)}
	}
	version, err := x.Locator.CgroupVersion()
	x.version = version
	return []Check{judgeCgroups(version, err)}
}

func judgeCgroups(version container.CgroupVersion, err error) Check {
	if err != nil {
		return failed(Cgroups, "podseal's own cgroups can't be read: "+err.Error(), "mount procfs at /proc as the kernel gives it, without hidepid and without a file system over it")
	}
	c := ok(Cgroups, fmt.Sprintf("cgroup %s", version))
	switch version {
	case container.CgroupHybrid:
		c.Details = []string{"where v1 controllers are in use, a pod's v1 lines decide together with the v2 one"}
	case container.CgroupV1:
		c.Details = []string{"at least one of the controllers cpu, memory, pids, devices and freezer must say which pod a process is in"}
	}
	return c
}
