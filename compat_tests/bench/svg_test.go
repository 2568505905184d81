package main

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

func someChart(logarithmic bool) *chart {
	return &chart{
		title: "Costs & more", xName: "subscribers", yName: "µs", logarithmic: logarithmic, xTicks: []float64{1, 100, 10000}, xText: short,
		curves: []curve{
			{"a <server>", []point{{1, value{30, 20, 40}}, {100, value{9, 8, 10}}, {10000, value{8, 7, 9}}}},
			{"another", []point{{1, value{50, 50, 50}}, {10000, value{12, 11, 13}}}},
		},
	}
}

// TestChart checks that a diagram is well-formed and within its frame.
func TestChart(t *testing.T) {
	for _, logarithmic := range []bool{false, true} {
		c := someChart(logarithmic)
		text := c.svg()
		d := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
		}
		if n := strings.Count(text, "<circle"); n != 5 {
			t.Errorf("%d points, want 5", n)
		}
		for _, want := range []string{"Costs &amp; more", "a &lt;server&gt;", "another", "subscribers"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		ticks := c.yTicks()
		for _, curve := range c.curves {
			for _, p := range curve.points {
				x := c.xAt(p.x)
				for _, y := range []float64{p.y.least, p.y.median, p.y.most} {
					if at := c.yAt(y, ticks); x < leftEdge || x > svgWidth-rightEdge || at < topEdge-1e-9 || at > svgHeight-bottomEdge+1e-9 {
						t.Errorf("%v, %v is drawn at %v, %v", p.x, y, x, at)
					}
				}
			}
		}
		if c.yAt(40, ticks) >= c.yAt(20, ticks) || c.xAt(1) >= c.xAt(100) || math.Abs((c.xAt(1)+c.xAt(10000))/2-c.xAt(100)) > 1e-6 {
			t.Error("an axis points the wrong way or grows unevenly")
		}
	}
}

func TestTicks(t *testing.T) {
	for most, want := range map[float64]float64{1: 1, 7.3: 8, 30: 30, 34.2: 40, 99: 100, 101: 120, 119: 120, 7: 8} {
		c := chart{curves: []curve{{points: []point{{1, value{most, most, most}}}}}}
		ticks := c.yTicks()
		if last := ticks[len(ticks)-1]; math.Abs(last-want) > 1e-9 || ticks[0] != 0 || len(ticks) < 3 || len(ticks) > 8 {
			t.Errorf("the ticks up to %v are %v", most, ticks)
		}
	}
}
