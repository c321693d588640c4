"""Networks for video that compute what changed: conversion from float networks, in two modes; networks and clips."""
