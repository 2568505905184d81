package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
)

// profileFanout makes labapp deliver to 2,000 receivers as fast as it can, one publication
// after the other, and writes its CPU profile to a file. A hundredth of the profile is
// joining.
func profileFanout(ctx context.Context, file string) error {
	set, err := buildServers(ctx, true)
	if err != nil {
		return err
	}
	defer set.close()
	file, err = filepath.Abs(file)
	if err != nil {
		return err
	}
	srv := set.all[labServer]
	plain := srv.args
	srv.args = func(addr, port string) []string { return append(plain(addr, port), "-cpuprofile="+file) }
	if err := set.restart(labServer); err != nil {
		return err
	}
	report, err := drive(ctx, srv, "broadcast", "--topic="+srv.topic, "--event=shout", "--connections=2000", "--duration=15s")
	if err != nil {
		return err
	}
	fmt.Printf("%d deliveries, %.2f µs of CPU each\n", report.Run.Delivered, report.Server.CPUPerUnit)
	return end(srv.cmd)
}

// end makes a process exit by itself, so that it writes its profile.
func end(cmd *exec.Cmd) error {
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return cmd.Wait()
}
