package channels_test

const crowdTarget = "X"

func holdCrowd(string) int { return 0 }
