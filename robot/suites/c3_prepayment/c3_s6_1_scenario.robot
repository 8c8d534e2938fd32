*** Settings ***
Documentation       C3, scenario 6: the customer has prepaid but has no power (programme A). In its three endings: restored by
...                 re-activation, still no power, failed test. Step by step, in the catalogue's ids.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_trouble.py
Library             ../../keywords/website_browser.py
Test Setup          The Site Is Provisioned
Test Teardown       The Faults Are Mended


*** Test Cases ***
Power Is Restored By Re-Activation
    [Tags]    C3-S6    C3-MSG-02    C3-MSG-08    C3-MSG-10    C3-MSG-18    C3-MSG-19    C3-MSG-20    C3-MSG-21    C3-MSG-22
    The Service Was Prepaid And Is Off    5000
    Representative Signs In At The Website
    Customer Reports No Power
    Representative Verifies The Identity
    Representative Verifies Prepayment And Activation
    Representative Has The Meter Tested
    Meter Processes The Test And Returns Results
    ADCS Passes The Results To The MDMS
    MDMS Makes The Results Available
    Representative Sees The Results    ${True}
    Keep A Picture    meter-test
    Representative Activates The Service Again
    Power Is Restored And No Order Is Issued
    Keep A Picture    restored

There Is Still No Power After Re-Activation
    [Tags]    C3-S6    C3-MSG-02    C3-MSG-08    C3-MSG-10    C3-MSG-18    C3-MSG-19    C3-MSG-20    C3-MSG-21    C3-MSG-22
    The Service Was Prepaid And Is Off    5000
    The Feed Of The House Is Cut
    Representative Signs In At The Website
    Customer Reports No Power
    Representative Verifies The Identity
    Representative Verifies Prepayment And Activation
    Representative Has The Meter Tested
    Meter Processes The Test And Returns Results
    ADCS Passes The Results To The MDMS
    MDMS Makes The Results Available
    Representative Sees The Results    ${True}
    Representative Activates The Service Again
    Customer Still Has No Power
    Orders Are Issued Automatically
    Keep A Picture    orders

The Meter Fails Its Test
    [Tags]    C3-S6.01    C3-S6.02    C3-S6.03    C3-S6.04    C3-S6.08    C3-S6.10
    ...    C3-MSG-02    C3-MSG-18    C3-MSG-19    C3-MSG-20    C3-MSG-22
    The Service Was Prepaid And Is Off    5000
    The Line To The Meter Is Cut
    Representative Signs In At The Website
    Customer Reports No Power
    Representative Verifies The Identity
    Representative Verifies Prepayment And Activation
    Representative Has The Meter Tested
    Representative Sees The Results    ${False}
    Orders Are Issued Automatically
