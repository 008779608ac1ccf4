module payments

go 1.25

require tidemill.dev/tidemill v0.0.0

replace tidemill.dev/tidemill => ../../../../sdk/go
