package main

import (
	"math"
	"slices"
)

// percentile is the smallest of the values that at least p of a hundred of them
// do not exceed: one that was measured. There must be a value.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted)))), 1)-1]
}

// median is the middle value, or the mean of the two in the middle. There must
// be a value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// ratio is what pairs of values, measured side by side, say together.
type ratio struct{ median, min, max float64 }

// ratios divides pair by pair, so that what slows a whole round does not matter.
func ratios(of, to []float64) ratio {
	var all []float64
	for i := range of {
		all = append(all, of[i]/to[i])
	}
	return ratio{median(all), slices.Min(all), slices.Max(all)}
}
