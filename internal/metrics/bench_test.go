package metrics

import (
	"fmt"
	"testing"
)

// BenchmarkScrape is what an answer costs, apart from the source's own work.
func BenchmarkScrape(b *testing.B) {
	for _, types := range []int{1, 10} {
		s := &source{}
		for i := range types {
			s.types = append(s.types, Type{Name: fmt.Sprint("type", i), Instances: map[string]int{"running": 1}})
		}
		r := newRegistry(s, "1")
		b.Run(fmt.Sprint("types=", types), func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
