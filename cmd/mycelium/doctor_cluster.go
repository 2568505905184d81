package main

import (
	"context"
	"errors"
	"strings"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
)

// splitClusterFlags takes the options of a cluster, --config and --data out of the flags of the doctor.
func splitClusterFlags(args []string) (own, options []string) {
	for i := 0; i < len(args); i++ {
		name, _, hasValue := strings.Cut(args[i], "=")
		if name != "--config" && name != "--data" && !strings.HasPrefix(name, "--cluster-") {
			own = append(own, args[i])
			continue
		}
		options = append(options, args[i])
		if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			options = append(options, args[i])
		}
	}
	return own, options
}

// clusterVariables are those of environ that splitClusterFlags would take as flags.
func clusterVariables(environ []string) (found []string) {
	for _, v := range environ {
		if strings.HasPrefix(v, "MYCELIUM_CLUSTER_") || strings.HasPrefix(v, "MYCELIUM_CONFIG=") || strings.HasPrefix(v, "MYCELIUM_DATA=") {
			found = append(found, v)
		}
	}
	return found
}

// examineCluster adds the checks of the cluster that cfg names to a report.
func examineCluster(ctx context.Context, cfg *config.Config, r *doctor.Report) {
	k := cfg.Cluster
	if !k.Enabled() {
		return
	}
	c := &checker{cfg: cfg}
	already := len(cfg.Warnings)
	files := c.cluster()
	checks := fileChecks(c.problems, cfg.Warnings[already:])
	if len(checks) == 0 {
		checks = []doctor.Check{{Name: "files and names", Status: doctor.OK, Value: "right, for the node " + files.node, Why: "the node proves with them that it belongs to the cluster"}}
	}
	if k.SharesInstances() && k.Embedded() {
		checks = append(checks, dataCheck(cfg.Data))
	}
	options := natsOptions(k, files)
	cluster := doctor.Cluster{
		Name: k.Name, Listen: k.Listen, Routes: k.Routes, Servers: k.NATSURL,
		Connect: func(ctx context.Context, server string) error {
			err := natscluster.Check(ctx, k.Name, server, options...)
			if err == nil && k.SharesInstances() {
				err = natscluster.CheckJetStream(ctx, server, bucketOf(k.Name), options...)
			}
			return forPeople(err)
		},
	}
	if len(c.problems) == 0 {
		cluster.Live = func(ctx context.Context, reached []string) []doctor.Check { return lookAround(ctx, k, files, reached) }
	}
	r.ExamineCluster(ctx, cluster, checks)
}

// forPeople returns an error without the package that it is from.
func forPeople(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.TrimPrefix(err.Error(), "natscluster: "))
}

// fileChecks are checks of problems and warnings, of which each begins with its option.
func fileChecks(problems, warnings []string) (checks []doctor.Check) {
	add := func(text string, status doctor.Status) {
		option, why, found := strings.Cut(text, ": ")
		if !found {
			option, why = "configuration", text
		}
		name, origin, _ := strings.Cut(option, " ")
		checks = append(checks, doctor.Check{Name: name, Status: status, Value: strings.Trim(origin, "()"), Why: why})
	}
	for _, p := range problems {
		add(p, doctor.Failed)
	}
	for _, w := range warnings {
		add(w, doctor.Advice)
	}
	return checks
}
