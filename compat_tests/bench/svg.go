package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is a diagram of curves over a logarithmic x axis.
type chart struct {
	title, xName, yName string
	xTicks              []float64
	xText               func(float64) string
	logarithmic         bool // the y axis is logarithmic too
	curves              []curve
}

// curve is a line through medians. A bar at each point shows the least and the most.
type curve struct {
	name   string
	points []point
}

type point struct {
	x float64
	y value
}

const (
	svgWidth, svgHeight                      = 720, 420
	leftEdge, rightEdge, topEdge, bottomEdge = 70, 30, 50, 60
)

// colours can be told apart by colour-blind people.
var colours = []string{"#0072b2", "#d55e00", "#009e73"}

// svg draws the chart.
func (c *chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, svgHeight)
	text := func(x, y float64, anchor, extra, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, extra, html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, colour string, width float64) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", x1, y1, x2, y2, colour, width)
	}
	text(svgWidth/2, 24, "middle", ` font-size="15" font-weight="bold"`, c.title)
	text((leftEdge+svgWidth-rightEdge)/2, svgHeight-14, "middle", "", c.xName)
	middle := float64(topEdge+svgHeight-bottomEdge) / 2
	text(18, middle, "middle", fmt.Sprintf(` transform="rotate(-90 18 %.0f)"`, middle), c.yName)
	ticks := c.yTicks()
	for _, y := range ticks {
		at := c.yAt(y, ticks)
		line(leftEdge, at, svgWidth-rightEdge, at, "#ddd", 1)
		text(leftEdge-8, at+4, "end", "", short(y))
	}
	for _, x := range c.xTicks {
		line(c.xAt(x), svgHeight-bottomEdge, c.xAt(x), svgHeight-bottomEdge+5, "#444", 1)
		text(c.xAt(x), svgHeight-bottomEdge+20, "middle", "", c.xText(x))
	}
	line(leftEdge, svgHeight-bottomEdge, svgWidth-rightEdge, svgHeight-bottomEdge, "#444", 1)
	for i, curve := range c.curves {
		colour := colours[i%len(colours)]
		var path []string
		for _, p := range curve.points {
			x, y := c.xAt(p.x), c.yAt(p.y.median, ticks)
			path = append(path, fmt.Sprintf("%.1f,%.1f", x, y))
			line(x, c.yAt(p.y.least, ticks), x, c.yAt(p.y.most, ticks), colour, 1)
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, y, colour)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		at := float64(topEdge + 4 + 18*i)
		line(svgWidth-rightEdge-150, at, svgWidth-rightEdge-125, at, colour, 2)
		text(svgWidth-rightEdge-118, at+4, "start", "", curve.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// xAt returns the position of a value on the x axis.
func (c *chart) xAt(x float64) float64 {
	low, high := math.Log(c.xTicks[0]), math.Log(c.xTicks[len(c.xTicks)-1])
	const inset = 20
	return leftEdge + inset + (math.Log(x)-low)/(high-low)*(svgWidth-leftEdge-rightEdge-2*inset)
}

func (c *chart) yAt(y float64, ticks []float64) float64 {
	low, high := ticks[0], ticks[len(ticks)-1]
	if c.logarithmic {
		low, high, y = math.Log(low), math.Log(high), math.Log(y)
	}
	return svgHeight - bottomEdge - (y-low)/(high-low)*(svgHeight-topEdge-bottomEdge)
}

// yTicks returns round values from below the least to above the most. A linear axis starts
// at 0.
func (c *chart) yTicks() (ticks []float64) {
	least, most := math.Inf(1), 0.0
	for _, curve := range c.curves {
		for _, p := range curve.points {
			least, most = min(least, p.y.least), max(most, p.y.most)
		}
	}
	if c.logarithmic {
		low := math.Pow(10, math.Floor(math.Log10(least)))
		for y := low; ; y *= 10 {
			for _, factor := range []float64{1, 2, 5} {
				ticks = append(ticks, y*factor)
				if len(ticks) > 1 && ticks[1] <= least {
					ticks = ticks[1:]
				}
				if y*factor >= most && len(ticks) > 1 {
					return ticks
				}
			}
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, factor := range []float64{.1, .2, .25, .5, 1, 2} {
		if most/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	for y := 0.0; ; y += step {
		ticks = append(ticks, y)
		if y >= most {
			return ticks
		}
	}
}
